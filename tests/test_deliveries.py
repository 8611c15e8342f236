from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from loops import PATIENCE, tell_story
from python_pubsub_server.clock import LogClock
from python_pubsub_server.deliveries import NOTED_SECONDS, Deliveries
from python_pubsub_server.journal import Journal
from python_pubsub_server.model import Resent, SpanEnd, SpanStart
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import Batch, Committed, Here, open_database


class Story:
    """A node's deliveries, with the journal that they are written to and what it stored."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.wall = 1_000.0
        self.delivered = 0
        self.batches: list[Batch] = []
        self.is_closed = False
        clock = LogClock(lambda: self.wall, lambda: self.wall)
        self.deliveries = Deliveries("node", clock, lambda: self.delivered)
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.journal = Journal(database.writer(), runtime, clock, self, self.deliveries.here)
        self.deliveries.write_to(self.journal)

    def committed(self, batch: Batch, outcome: Committed) -> None:
        self.batches.append(batch)

    def written(self) -> list[Any]:
        """What was written since the last time."""
        self.journal.write()
        batches, self.batches = self.batches, []
        return [one for batch in batches for one in batch.deliveries]

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.journal.close(PATIENCE)


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    return lambda tale: tell_story(lambda runtime: Story(runtime, tmp_path), tale)


def test_a_span_begins_and_ends_where_the_node_stands(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.deliveries.begin("c1", "carl", ["a", "b*"], 7)
        a, b = story.written()
        assert isinstance(a, SpanStart)
        assert (a.node_id, a.consumer, a.topic, a.after, a.at) == ("node", "carl", "a", 7, 1_000.0)
        assert (b.topic, b.after) == ("b*", 7)
        assert a.span_id != b.span_id
        story.delivered, story.wall = 12, 1_005.0
        story.deliveries.end("c1", ["a", "never"])
        assert story.written() == [SpanEnd(a.span_id, 12, 1_005.0, "unsubscribed")]
        story.deliveries.disconnect("c1")
        assert story.written() == [SpanEnd(b.span_id, 12, 1_005.0, "disconnected")]
        story.deliveries.disconnect("c1")
        story.deliveries.end("c1", ["a"])
        assert story.written() == []

    tell(tale)


def test_a_node_where_nothing_happens_notes_now_and_then_that_it_is_there(tell: Tell) -> None:
    def tale(story: Story) -> None:
        with patch.object(story.journal, "append", wraps=story.journal.append) as append:
            story.deliveries.keep_noted()
            assert not append.called  # nobody listens, so there is nothing to keep
            story.deliveries.begin("c1", "carl", ["a"], 7)
            append.reset_mock()
            for wall, notes in ((0.0, 1), (NOTED_SECONDS - 1, 1), (NOTED_SECONDS + 1, 2)):
                story.wall = 1_000.0 + wall
                for _ in range(2):
                    story.deliveries.keep_noted()
                assert append.call_count == notes
        story.journal.write()
        assert story.batches[-1].here == Here("node", 0)

    tell(tale)


def test_who_stalled_was_slow(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.deliveries.begin("c1", "carl", ["a"], 0)
        (start,) = story.written()
        story.deliveries.disconnect("c1", stalled_at=990.0)
        assert story.written() == [SpanEnd(start.span_id, 0, 1_000.0, "slow", 990.0)]

    tell(tale)


def test_a_span_that_is_begun_again_ends_first(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.deliveries.begin("c1", "carl", ["a"], 0)
        (first,) = story.written()
        story.delivered = 5
        story.deliveries.begin("c1", "dora", ["a"], 5)
        end, start = story.written()
        assert end == SpanEnd(first.span_id, 5, 1_000.0, "unsubscribed")
        assert (start.consumer, start.after) == ("dora", 5)

    tell(tale)


def test_a_span_whose_replay_broke_off_stands_for_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        deliveries = story.deliveries
        deliveries.begin("c1", "carl", ["a", "b"], 3, behind=["a"])
        deliveries.begin("c2", "carl", ["a", "b"], 3, behind=["a"])
        story.written()
        story.delivered = 9
        deliveries.disconnect("c1")
        assert [end.through for end in story.written()] == [3, 9]
        deliveries.caught_up("c2")
        deliveries.caught_up("gone")
        deliveries.disconnect("c2")
        assert [end.through for end in story.written()] == [9, 9]

    tell(tale)


def test_what_is_sent_again_is_written(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.deliveries.resent("carl", "a", 2, 8)
        assert story.written() == [Resent("carl", "a", 2, 8, 1_000.0)]

    tell(tale)


def test_a_node_says_where_it_is_while_somebody_with_a_name_listens(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.delivered = 4
        assert story.deliveries.here() is None
        assert story.deliveries.position() == Here("node", 4)
        story.deliveries.begin("c1", "carl", ["a"], 0)
        assert story.deliveries.here() == Here("node", 4)
        story.journal.write()
        assert {batch.here for batch in story.batches} == {Here("node", 4)}
        story.deliveries.disconnect("c1")
        assert story.deliveries.here() is None

    tell(tale)


def test_what_other_nodes_published_is_noted_while_somebody_listens(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.deliveries.note()
        assert story.written() == []
        story.deliveries.begin("c1", "carl", ["a"], 0)
        story.written()
        story.delivered = 9
        story.deliveries.note()
        story.journal.write()
        assert story.batches[0].here == Here("node", 9)

    tell(tale)


def test_a_ledger_that_cannot_be_written_is_logged_and_costs_nothing_else(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        story.close()
        story.deliveries.begin("c1", "carl", ["a"], 0)
        story.deliveries.disconnect("c1")

    with caplog.at_level(logging.WARNING, "pubsub"):
        tell(tale)
    assert [record.msg for record in caplog.records] == ["ledger_incomplete"] * 2
