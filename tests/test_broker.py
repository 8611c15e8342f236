from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from connections import Someone
from loops import PATIENCE, tell_story
from python_pubsub_server import feed as feed_module
from python_pubsub_server.broker import Announcer, Broker
from python_pubsub_server.clock import LogClock
from python_pubsub_server.errors import Forbidden, NotFound, RequestError, Unavailable
from python_pubsub_server.feed import MAX_PART_BYTES, Feed
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import NOTHING, Identity
from python_pubsub_server.journal import Entry, Journal
from python_pubsub_server.model import Claim, Published
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import open_database
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.transport.connection import Broadcast
from stories import draft

ANN = Identity("127.0.0.1")


class Listener(Someone):
    """A connection that counts the messages it is sent."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.messages = 0
        self.broadcasts: list[Broadcast] = []

    def send(self, broadcast: Broadcast) -> None:
        self.broadcasts.append(broadcast)
        self.messages += len(broadcast.payloads)


class Story:
    """A broker on a loop and a file, with one listener to everything."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        self.is_stopped = False
        self.clock = LogClock()
        self.hub = Hub()
        self.rates = Rates()
        self.listener = Listener()
        self.hub.join(self.hub.add(self.listener), "*", 0.0)
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.readers = Readers(database, runtime, threads=1)
        self.feed = Feed(self.hub, self.readers, runtime, 0)
        announcer = Announcer(self.feed, self.rates)
        journal = Journal(database.writer(), runtime, self.clock, announcer)
        self.broker = Broker(journal, self.hub, self.readers, self.clock)

    def published(self, *ids: str) -> list[tuple[int, bool]]:
        drafts = [draft(message_id=each) for each in ids]
        return [(p.message.sequence, p.duplicate) for p in self.broker.publish(ANN, drafts)]

    def consumed(self, *claims: Claim) -> list[int | RequestError]:
        """What became of claims that were made without waiting in between."""
        answers: list[int | RequestError] = []
        is_answered = self.runtime.event()

        def answer(outcome: int | RequestError) -> None:
            answers.append(outcome)
            if len(answers) == len(claims):
                is_answered.set()

        for claim in claims:
            self.broker.consume_soon(ANN, claim, answer)
        assert is_answered.wait(PATIENCE)
        return answers

    def rate(self, *key: str) -> float:
        return self.rates.rate(key, self.clock.now())

    def stop(self) -> None:
        self.is_stopped = True
        self.broker.journal.close(PATIENCE)

    def close(self) -> None:
        if not self.is_stopped:
            self.stop()
        self.feed.close(PATIENCE)
        self.readers.close(PATIENCE)


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    return lambda tale: tell_story(lambda runtime: Story(runtime, tmp_path), tale)


def test_what_is_published_is_stored_delivered_and_answered(tell: Tell) -> None:
    def tale(story: Story) -> None:
        assert story.published("a", "b") == [(1, False), (2, False)]
        assert story.listener.messages == 2
        assert story.readers.read(lambda reader: reader.position("news")).sequence == 2

    tell(tale)


def test_a_big_batch_is_delivered_in_parts_in_order_before_it_is_answered(tell: Tell) -> None:
    def tale(story: Story) -> None:
        heard_at_answer: list[int] = []
        heard_at_answer_parts: list[int] = []
        is_answered = story.runtime.event()

        def answer(outcome: Any) -> None:
            heard_at_answer.append(story.listener.messages)
            heard_at_answer_parts.append(len(story.listener.broadcasts))
            is_answered.set()

        size = MAX_PART_BYTES // 10
        drafts = [draft(message_id=str(n), message="x" * size) for n in range(35)]
        story.broker.journal.append(Entry(answer, drafts=drafts))
        story.broker.publish_soon(ANN, draft(message_id="later"), lambda _: None)
        assert is_answered.wait(PATIENCE)
        assert heard_at_answer == [35]
        parts = [
            [json.loads(each)["sequence"] for each in broadcast.payloads]
            for broadcast in story.listener.broadcasts[: heard_at_answer_parts[0]]
        ]
        assert len(parts) == 4
        assert [n for part in parts for n in part] == list(range(1, 36))
        for broadcast in story.listener.broadcasts:
            assert sum(len(each) for each in broadcast.payloads) <= MAX_PART_BYTES + 100

    tell(tale)


def test_messages_larger_than_a_part_leave_one_by_one(tell: Tell) -> None:
    def tale(story: Story) -> None:
        text = "x" * (MAX_PART_BYTES + 1)
        drafts = [draft(message_id=str(n), message=text) for n in range(3)]
        assert len(story.broker.publish(ANN, drafts)) == 3
        assert [len(each.payloads) for each in story.listener.broadcasts] == [1, 1, 1]

    tell(tale)


def test_a_reader_that_has_stopped_does_not_hold_up_the_publishers(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.listener.backlog = 2 * MAX_PART_BYTES
        drafts = [draft(message_id=str(n), message="x" * MAX_PART_BYTES) for n in range(3)]
        assert len(story.broker.publish(ANN, drafts)) == 3
        assert story.listener.messages == 3

    with patch.object(feed_module, "MAX_TURNS", 3):
        tell(tale)


def test_a_delivery_that_fails_sends_everybody_to_the_log(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        with patch.object(story.listener, "send", side_effect=RuntimeError("broken")):
            assert story.published("a") == [(1, False)]
        assert story.listener.closed_as == "delivery failed"

    tell(tale)
    assert [record.msg for record in caplog.records] == ["answer_failed"]


def test_a_repeated_publish_is_stored_and_delivered_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.published("a")
        assert story.published("a", "b", "b") == [(1, True), (2, False), (2, True)]
        assert story.listener.messages == 2

    tell(tale)


def test_publishing_without_waiting_keeps_the_order_of_the_calls(tell: Tell) -> None:
    def tale(story: Story) -> None:
        answers: list[tuple[str, int]] = []
        is_answered = story.runtime.event()

        def answer(outcome: Any) -> None:
            (published,) = outcome
            assert isinstance(published, Published)
            answers.append((published.message.message_id, published.message.sequence))
            if len(answers) == 50:
                is_answered.set()

        for number in range(50):
            story.broker.publish_soon(ANN, draft(message_id=str(number)), answer)
        assert is_answered.wait(PATIENCE)
        assert answers == [(str(number), number + 1) for number in range(50)]

    tell(tale)


def test_a_consumption_counts_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.published("a", "b")
        by_id, by_sequence = Claim("c", "news", "a"), Claim("c", "news", "b", 2)
        assert story.consumed(by_id, by_id, by_sequence) == [1, 0, 1]
        assert story.consumed(by_sequence, Claim("d", "news", "a", 1)) == [0, 1]

    tell(tale)


def test_a_claim_about_nothing_is_told_so(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.published("a")
        answers = story.consumed(
            Claim("c", "never", "a"), Claim("c", "news", "never"), Claim("c", "news", "a", 2)
        )
        assert [type(each) for each in answers] == [NotFound] * 3
        assert [str(each) for each in answers] == [
            "The topic 'never' has no retained message 'a'",
            "The topic 'news' has no retained message 'never'",
            "The topic 'news' has no retained message 'a' at sequence 2",
        ]

    tell(tale)


def test_a_stopping_broker_takes_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        broker = story.broker
        story.stop()
        with pytest.raises(Unavailable):
            broker.publish(ANN, [draft()])
        with pytest.raises(Unavailable):
            broker.publish_soon(ANN, draft(), lambda _: None)
        with pytest.raises(Unavailable):
            broker.consume_soon(ANN, Claim("c", "news", "a"), lambda _: None)

    tell(tale)


def test_rates_count_what_was_new(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.published("a", "a", "b")
        story.consumed(Claim("c", "news", "a"), Claim("c", "news", "a"), Claim("c", "news", "x"))
        assert story.rate("publish", "ann", "news") == pytest.approx(0.2, rel=0.2)
        assert story.rate("consume", "c", "news") == pytest.approx(0.1, rel=0.2)
        assert story.rate("consume", "ann", "news") == 0

    tell(tale)


def test_every_commit_is_in_the_debug_log(tell: Tell, caplog: pytest.LogCaptureFixture) -> None:
    def tale(story: Story) -> None:
        story.published("a", "a")
        story.consumed(Claim("c", "news", "a"))

    with caplog.at_level(logging.DEBUG, "pubsub"):
        tell(tale)
    lines: list[Any] = [(r.msg, getattr(r, "fields", {})) for r in caplog.records]
    assert [f["duplicate"] for name, f in lines if name == "published"] == [False, True]
    assert [f["recorded"] for name, f in lines if name == "consumed"] == [1]


def test_nobody_in_particular_may_publish_only_where_everybody_may(tell: Tell) -> None:
    def tale(story: Story) -> None:
        stranger = Identity("10.0.0.1", rights=NOTHING)
        with pytest.raises(Forbidden, match=r"^This token"):
            story.broker.publish(stranger, [draft()])
        with pytest.raises(Forbidden, match=r"^Item 0: This token"):
            story.broker.publish(stranger, [draft(), draft("other")])
        with pytest.raises(Forbidden):
            story.broker.publish_soon(stranger, draft(), lambda outcome: None)

    tell(tale)
