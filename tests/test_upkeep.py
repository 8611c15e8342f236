from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from loops import PATIENCE, tell_story
from python_pubsub_server import upkeep as upkeep_module
from python_pubsub_server.clock import LogClock
from python_pubsub_server.journal import Entry, Journal
from python_pubsub_server.model import NodeMinute
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import (
    Batch,
    Committed,
    Retention,
    WriteFailed,
    Writer,
    open_database,
)
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.upkeep import FLOWING_STEP, STEP, Upkeep
from stories import draft


class CountingWriter:
    """A real writer that counts the steps of upkeep, or lets them fail."""

    def __init__(self, inner: Writer, stepped: Callable[[], None]) -> None:
        self._inner = inner
        self._stepped = stepped
        self.failures = 0
        self.steps: list[tuple[str, int]] = []

    def commit(self, batch: Batch) -> Committed:
        return self._inner.commit(batch)

    def index(self, limit: int) -> int:
        return self._step("index", lambda: self._inner.index(limit))

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        return self._step("trim", lambda: self._inner.trim(retention, now, limit))

    def keep_minute(self, minute: NodeMinute, since: int) -> None:
        self._inner.keep_minute(minute, since)

    def checkpoint(self) -> None:
        self._step("checkpoint", lambda: self._inner.checkpoint() or 0)

    def _step(self, kind: str, work: Callable[[], int]) -> int:
        try:
            if self.failures:
                self.failures -= 1
                raise WriteFailed("disk full")
            done = work()
            self.steps.append((kind, done))
            return done
        finally:
            self._stepped()

    def close(self) -> None:
        self._inner.close()


class Story:
    """A log with its upkeep on a loop; what was done is waited for, step by step."""

    def __init__(self, runtime: Runtime, path: Path, retention: Retention) -> None:
        self.runtime = runtime
        self.wall = 1_000.0
        self.clock = LogClock(lambda: self.wall, lambda: self.wall)
        self.stepped = runtime.event()
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.readers = Readers(database, runtime, threads=1)
        self.writer = CountingWriter(
            database.writer(), lambda: runtime.call_from_thread(self.stepped.set)
        )
        self.journal = Journal(self.writer, runtime, self.clock, self)
        self.rounds = self.count = 0
        self.upkeep = Upkeep(self.journal, runtime, self.clock, retention, self._begin_round)

    def _begin_round(self) -> None:
        self.rounds += 1

    def committed(self, batch: Batch, outcome: Committed) -> None:
        if batch.drafts:
            self.upkeep.wake()

    def publish(self, count: int) -> None:
        first, self.count = self.count, self.count + count
        drafts = [draft(message_id=f"m{n}", message=f"word{n}") for n in range(first, self.count)]
        self.journal.write(drafts=drafts)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at after each step."""
        while not is_so():
            self.stepped.clear()
            if not is_so():
                assert self.stepped.wait(PATIENCE)

    def rest(self) -> None:
        """Wait until a round has found nothing more to do."""
        self.until(lambda: self.writer.steps[-1:] == [("index", 0)])

    @property
    def indexed(self) -> list[int]:
        """How many messages each step of the index took."""
        return [done for kind, done in self.writer.steps if kind == "index"]

    @property
    def first(self) -> int:
        return self.readers.read(lambda reader: reader.position("news")).first

    def found(self, word: str) -> int:
        return len(self.readers.read(lambda reader: reader.messages(10, text=word)))

    def close(self) -> None:
        self.upkeep.stop(PATIENCE)
        self.journal.close(PATIENCE)
        self.readers.close(PATIENCE)


Tell = Callable[..., Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    def run(
        tale: Callable[[Story], Any], messages: int = 100_000, seconds: float | None = None
    ) -> Any:
        pauses = {"PAUSE_SECONDS": 0.001, "FAILURE_PAUSE_SECONDS": 0.001}
        with patch.multiple(upkeep_module, **pauses):
            retention = Retention(messages, seconds)
            return tell_story(lambda runtime: Story(runtime, tmp_path, retention), tale)

    return run


def test_after_a_commit_the_log_is_trimmed_and_indexed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.rest()
        story.publish(2 * STEP + 50)
        story.until(lambda: story.first == 2 * STEP + 41)
        story.until(lambda: story.found(f"word{2 * STEP + 45}") == 1)
        assert story.found("word0") == 0
        assert max(done for _, done in story.writer.steps) <= STEP

    tell(tale, messages=10)


def test_while_messages_flow_the_index_takes_short_steps(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(10 * FLOWING_STEP)
        story.until(lambda: sum(story.indexed) == 10 * FLOWING_STEP)
        assert max(story.indexed) == FLOWING_STEP

    with patch.multiple(upkeep_module, FLOWING_COMMITS=-1, FLOWING_PAUSE_SECONDS=0.001):
        tell(tale)


def test_what_is_committed_is_copied_between_commits(tell: Tell, tmp_path: Path) -> None:
    def tale(story: Story) -> None:
        story.rest()
        before = (tmp_path / "log.db").stat().st_size
        for _ in range(3):
            story.publish(100)
        story.until(lambda: ("checkpoint", 0) in story.writer.steps)
        assert (tmp_path / "log.db").stat().st_size > before

    with patch.object(upkeep_module, "CHECKPOINT_COMMITS", 2):
        tell(tale)


def test_it_rests_when_all_is_done_and_wakes_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for turn in range(3):
            story.publish(5)
            story.until(lambda turn=turn: story.found(f"word{5 * turn + 4}") == 1)
            story.rest()
        steps = []
        for _ in range(2):  # a wake that came while it still worked has its round in the first
            for _ in range(50):
                story.runtime.sleep(0.001)
            steps.append(len(story.writer.steps))
        assert steps[0] == steps[1]

    tell(tale)


def test_what_grows_old_goes_without_a_commit(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(5)
        story.until(lambda: story.found("word4") == 1)
        story.rest()
        rounds, story.wall = story.rounds, 2_000.0
        story.until(lambda: story.first == 6)
        assert story.rounds > rounds

    with patch.object(upkeep_module, "IDLE_SECONDS", 0.01):
        tell(tale, seconds=500.0)


def test_trimming_keeps_up_while_publishers_keep_the_journal_busy(tell: Tell) -> None:
    def tale(story: Story) -> None:
        is_over = False
        answered = 0

        def again(outcome: Any) -> None:
            nonlocal answered
            assert isinstance(outcome, Committed)
            answered += 1
            if not is_over:
                publish()

        def publish() -> None:
            story.count += 1
            story.journal.append(Entry(again, drafts=[draft(message_id=f"m{story.count}")]))

        for _ in range(8):
            publish()
        story.until(lambda: story.first > 500)
        is_over = True
        assert story.count - story.first < 500
        assert answered >= 500

    tell(tale, messages=20)


def test_a_full_disk_is_logged_and_upkeep_goes_on_later(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        story.rest()
        story.writer.failures = 3
        story.publish(30)
        story.until(lambda: story.first == 21)

    with caplog.at_level(logging.WARNING, "pubsub"):
        tell(tale, messages=10)
    failed: list[Any] = [r for r in caplog.records if r.msg == "upkeep_failed"]
    assert len(failed) == 3
    assert "disk full" in failed[0].fields["reason"]


def test_it_stops_in_the_middle_of_its_work(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(20 * STEP)
        story.until(lambda: len(story.writer.steps) > 3)
        story.upkeep.stop(PATIENCE)
        steps = len(story.writer.steps)
        story.upkeep.wake()
        story.publish(1)
        assert len(story.writer.steps) == steps
        assert story.first < 19 * STEP

    tell(tale, messages=1)


def test_it_stops_while_it_rests(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.rest()
        story.upkeep.stop(PATIENCE)
        assert story.upkeep._task.wait(0)

    tell(tale)
