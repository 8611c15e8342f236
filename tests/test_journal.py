from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loops import BACKENDS, PATIENCE, tell_story
from python_pubsub_server import journal as journal_module
from python_pubsub_server.clock import LogClock
from python_pubsub_server.errors import RequestError, Unavailable
from python_pubsub_server.journal import FAILURE_SECONDS, Entry, Journal
from python_pubsub_server.model import Claim, Draft, Interest, Message, NodeMinute, Tally, Vote
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import (
    Batch,
    Committed,
    Retention,
    WriteFailed,
    Writer,
    open_database,
)
from stories import draft


class HeldWriter:
    """A real writer that begins each transaction only when the story lets it, or lets it fail."""

    def __init__(self, inner: Writer, began: Callable[[], None]) -> None:
        self._inner = inner
        self._began = began
        self._turns = threading.Semaphore(0)
        self.is_held = False
        self.batches: list[Batch] = []
        self.failures: deque[Exception | None] = deque()
        self.is_closed = False

    def go_on(self, transactions: int = 1) -> None:
        self._turns.release(transactions)

    def commit(self, batch: Batch) -> Committed:
        self.batches.append(batch)
        if self.is_held:
            self._began()
            assert self._turns.acquire(timeout=PATIENCE)
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
        return self._inner.commit(batch)

    def index(self, limit: int) -> int:
        return self._inner.index(limit)

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        return self._inner.trim(retention, now, limit)

    def keep_minute(self, minute: NodeMinute, since: int) -> None:
        self._inner.keep_minute(minute, since)

    def checkpoint(self) -> None:
        self._inner.checkpoint()

    def close(self) -> None:
        self.is_closed = True
        self._inner.close()


class Story:
    """A journal on a loop and a file, and what was heard of it in order."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        self.wall = 1_000.0
        self.steady = 0.0
        self.clock = LogClock(lambda: self.wall, lambda: self.wall)
        self.heard: list[Any] = []
        self.refusals: list[RequestError] = []
        self.is_closed = False
        self._began = runtime.event()
        self._changed = runtime.event()
        self.database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.writer = HeldWriter(
            self.database.writer(), lambda: runtime.call_from_thread(self._began.set)
        )
        self.journal = Journal(self.writer, runtime, self.clock, self, steady=lambda: self.steady)

    def committed(self, batch: Batch, outcome: Committed) -> None:
        for published in outcome.published:
            self.heard.append(("delivered", published.message.message_id))

    def append(self, name: str, *drafts: Draft, **more: Any) -> None:
        """Append an entry; its answer is heard under its name."""

        def then(outcome: Committed | RequestError) -> None:
            if isinstance(outcome, RequestError):
                self.refusals.append(outcome)
                self.heard.append(("refused", name))
            else:
                self.heard.append(("answered", name))
            self._changed.set()

        drafts = drafts or (() if more else (draft(message_id=name),))
        self.journal.append(Entry(then, drafts=drafts, **more))

    def hold(self, name: str = "first") -> None:
        """Append an entry and wait until its transaction has begun and is held."""
        self.writer.is_held = True
        self._began.clear()
        self.append(name)
        assert self._began.wait(PATIENCE)

    def wait_for(self, *answers: str) -> None:
        wanted = set(answers)
        while not wanted <= {name for kind, name in self.heard if kind != "delivered"}:
            self._changed.clear()
            assert self._changed.wait(PATIENCE), f"only heard {self.heard}"

    def sizes(self) -> list[int]:
        return [len(batch.drafts) for batch in self.writer.batches]

    def stop(self, timeout: float = PATIENCE) -> None:
        self.is_closed = True
        self.journal.close(timeout)

    def log(self) -> list[Message]:
        reader = self.database.reader()
        try:
            return list(reader.log("news", 0, 9, 2**20).messages)
        finally:
            reader.close()

    def close(self) -> None:
        self.writer.is_held = False
        self.writer.go_on(100)
        if not self.is_closed:
            self.stop()


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    """Runs a story on a loop of its own and returns what it returns."""

    return lambda tale: tell_story(
        lambda runtime: Story(runtime, tmp_path), tale, str(request.param)
    )


# Group commit


def test_what_waits_during_a_transaction_goes_into_the_next_one(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.hold()
        for name in "abcde":
            story.append(name)
        assert story.sizes() == [1]
        story.writer.go_on(2)
        story.wait_for("first", *"abcde")
        assert story.sizes() == [1, 5]

    tell(tale)


def test_it_delivers_before_it_answers_and_in_the_order_of_arrival(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.hold()
        for name in "abc":
            story.append(name)
        assert story.heard == []
        story.writer.go_on(2)
        story.wait_for(*"abc")
        assert story.heard == [
            ("delivered", "first"),
            ("answered", "first"),
            *(("delivered", name) for name in "abc"),
            *(("answered", name) for name in "abc"),
        ]

    tell(tale)


def test_each_entry_gets_its_own_part_of_the_outcome(tell: Tell) -> None:
    def tale(story: Story) -> None:
        outcomes: dict[str, Committed | RequestError] = {}

        def entry(name: str, **more: Any) -> None:
            story.journal.append(Entry(lambda outcome: outcomes.update({name: outcome}), **more))

        story.hold("m0")
        entry("claims", claims=(Claim("c", "news", "m0"), Claim("c", "news", "never")))
        entry("drafts", drafts=(draft(message_id="m1"), draft("other", "m2")))
        entry("interest", interests=(Interest("c", "news"),))
        entry("both", drafts=(draft(message_id="m3"),), claims=(Claim("d", "news", "m0"),))
        entry("votes", votes=(Vote("s", "ann", 1, "v1"), Vote("s", "ann", 1, "v2")))
        entry("nothing", claims=())
        entry("vote", votes=(Vote("s", "bob", -1, "v3"),), drafts=(draft("other", "m4"),))
        story.append("last")
        story.writer.go_on(2)
        story.wait_for("last")
        assert all(isinstance(outcome, Committed) for outcome in outcomes.values())
        got = {
            name: (
                [
                    (p.message.message_id, p.message.sequence, p.duplicate)
                    for p in outcome.published
                ],
                list(outcome.claimed),
            )
            for name, outcome in outcomes.items()
            if isinstance(outcome, Committed)
        }
        assert got == {
            "claims": ([], [1, None]),
            "drafts": ([("m1", 2, False), ("m2", 1, False)], []),
            "interest": ([], []),
            "both": ([("m3", 3, False)], [1]),
            "votes": ([], []),
            "nothing": ([], []),
            "vote": ([("m4", 2, False)], []),
        }
        tallies = {name: getattr(outcome, "voted", None) for name, outcome in outcomes.items()}
        assert tallies.pop("votes") == [Tally("s", 1, 1, 0)] * 2
        assert tallies.pop("vote") == [Tally("s", 0, 1, 1)]
        assert not any(tallies.values())

    tell(tale)


def test_messages_have_the_time_of_their_arrival(tell: Tell) -> None:
    def tale(story: Story) -> list[float]:
        story.hold()
        for name in "abc":
            story.wall += 10
            story.append(name)
        story.wall += 10
        story.writer.go_on(2)
        story.wait_for("c")
        return [m.timestamp for m in story.log()]

    assert tell(tale) == [1_000, 1_010, 1_020, 1_030]


def test_a_transaction_takes_as_much_as_its_bounds_allow(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_BATCH", 4)
    monkeypatch.setattr(journal_module, "MAX_BATCH_BYTES", 1_000)

    def tale(story: Story) -> list[int]:
        def several(name: str, count: int, content: str = "") -> None:
            drafts = [draft(message_id=f"{name}{n}", message=content) for n in range(count)]
            story.append(name, *drafts)

        story.hold()
        several("a", 3)
        several("b", 2)
        several("c", 2)
        several("d", 9)  # more than a transaction takes: it has one for itself
        several("e", 1, "x" * 600)
        several("f", 1, "x" * 600)
        several("g", 1, "x" * 2_000)
        several("h", 1)
        story.writer.go_on(20)
        story.wait_for(*"abcdefgh")
        return story.sizes()

    assert tell(tale) == [1, 3, 4, 9, 1, 1, 1, 1]


def contents(story: Story) -> list[list[str]]:
    """What each transaction after the first one took: messages, confirmations, interests."""
    return [
        [
            *(each.message_id for each in batch.drafts),
            *(each.message_id for each in batch.claims),
            *(each.consumer for each in batch.interests),
        ]
        for batch in story.writer.batches[1:]
    ]


def confirm(story: Story, name: str, message_id: str | None = None) -> None:
    story.append(name, claims=(Claim("c", "news", message_id or name),))


def test_publishes_go_before_confirmations_that_are_many(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CLAIMS_AT_ONCE", 2)

    def tale(story: Story) -> None:
        story.hold()
        for name in "12345":
            confirm(story, name)
        story.append("a")
        confirm(story, "6")
        story.append("b")
        story.writer.go_on(5)
        story.wait_for(*"123456ab")
        assert contents(story) == [["a", "b", "1", "2"], ["3", "4"], ["5", "6"]]
        answered = [name for kind, name in story.heard if kind == "answered"]
        assert answered == ["first", "1", "2", "a", "b", "3", "4", "5", "6"]
        assert (story.journal.waiting_items, story.journal.waiting_bytes) == (0, 0)

    tell(tale)


def test_nothing_but_a_publish_goes_before_a_confirmation(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CLAIMS_AT_ONCE", 2)

    def tale(story: Story) -> None:
        story.hold()
        for name in "123":
            confirm(story, name)
        story.append("i", interests=(Interest("i", "news"),))
        story.append("a")
        confirm(story, "4")
        story.writer.go_on(4)
        story.wait_for(*"1234ia")
        assert contents(story) == [["1", "2"], ["a", "3", "4", "i"]]

    tell(tale)


def test_no_confirmation_goes_before_a_publish(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_BATCH", 2)

    def tale(story: Story) -> None:
        recorded: list[object] = []
        story.hold()
        confirm(story, "1", "first")
        for name in "abc":
            story.append(name)
        claims = (Claim("c", "news", "c"),)
        story.journal.append(
            Entry(lambda outcome: recorded.append(getattr(outcome, "claimed", None)), claims=claims)
        )
        confirm(story, "2", "b")
        story.writer.go_on(4)
        story.wait_for(*"12abc")
        assert contents(story) == [["a", "b", "first"], ["c", "c", "b"]]
        assert recorded == [[1]]

    tell(tale)


def test_confirmations_that_wait_are_refused_when_the_disk_hangs(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.hold()
        confirm(story, "1")
        story.append("a")
        confirm(story, "2")
        story.stop(0.01)
        assert story.heard == [("refused", "1"), ("refused", "a"), ("refused", "2")]
        story.writer.go_on()
        story.wait_for("first")

    tell(tale)


# Failures


@pytest.mark.parametrize("failure", [WriteFailed("disk full"), RuntimeError("disk full")])
def test_a_failed_transaction_refuses_its_own_entries_and_no_other(
    tell: Tell, failure: Exception
) -> None:
    def tale(story: Story) -> None:
        story.writer.failures.extend([None, failure, None])
        story.hold()
        story.append("a")
        story.append("b")
        story._began.clear()
        story.writer.go_on()
        assert story._began.wait(PATIENCE)
        story.append("c")
        assert story.journal.recent_failure is None
        story.writer.go_on()
        story.wait_for("a", "b")
        assert "disk full" in str(story.journal.recent_failure)
        story.writer.go_on()
        story.wait_for("c")
        assert story.journal.recent_failure is None
        answers = [each for each in story.heard if each[0] != "delivered"]
        assert answers == [
            ("answered", "first"),
            ("refused", "a"),
            ("refused", "b"),
            ("answered", "c"),
        ]
        assert ("delivered", "a") not in story.heard
        for refusal in story.refusals:
            assert isinstance(refusal, Unavailable)
            assert "nothing was stored" in refusal.message
        log = story.log()
        assert [(m.sequence, m.message_id) for m in log] == [(1, "first"), (2, "c")]

    tell(tale)


def test_a_failure_is_recent_for_some_seconds(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.writer.failures.append(WriteFailed("disk full"))
        story.append("a")
        story.wait_for("a")
        story.wall += FAILURE_SECONDS
        assert story.journal.recent_failure == "disk full"
        story.wall += 0.1
        assert story.journal.recent_failure is None

    tell(tale)


def test_a_listener_or_an_answer_that_fails_stops_nobody_else(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        story.hold()
        story.journal.append(Entry(fail, drafts=(draft(message_id="a"),)))
        story.append("b")
        story.writer.failures.extend([None, None, WriteFailed("disk full")])
        story.writer.go_on(2)
        story.wait_for("b")
        story.hold("c")
        story.journal.append(Entry(fail, drafts=(draft(message_id="d"),)))
        story.append("e")
        story.committed = fail  # type: ignore[method-assign]
        story.writer.failures.clear()
        story.writer.failures.extend([None, WriteFailed("disk full")])
        story.writer.go_on(2)
        story.wait_for("c", "e")
        assert ("answered", "c") in story.heard
        assert ("refused", "e") in story.heard

    with caplog.at_level(logging.ERROR, "pubsub"):
        tell(tale)
    failed = [record for record in caplog.records if record.msg == "answer_failed"]
    assert len(failed) == 3
    assert all(record.exc_info for record in failed)


# Bounds


def test_it_refuses_when_too_much_waits(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 3)

    def tale(story: Story) -> None:
        story.hold()
        story.append("a", draft(message_id="a1"), draft(message_id="a2"))
        story.append("b", claims=(Claim("c", "news", "first"),))
        with pytest.raises(Unavailable, match="slow down"):
            story.append("c")
        story._began.clear()
        story.writer.go_on()
        assert story._began.wait(PATIENCE)
        story.append("d")  # what waited is being committed: there is room again
        story.writer.go_on(2)
        story.wait_for("a", "b", "d")
        assert ("answered", "c") not in story.heard

    tell(tale)


def test_it_refuses_when_too_many_bytes_wait(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING_BYTES", 1_000)

    def tale(story: Story) -> None:
        story.hold()
        story.append("a", draft(message_id="a", message="x" * 1_000))
        with pytest.raises(Unavailable, match="slow down"):
            story.append("b")
        story._began.clear()
        story.writer.go_on()
        assert story._began.wait(PATIENCE)
        story.append("c")

    tell(tale)


# Waiting for it


def test_writing_waits_for_the_commit(tell: Tell) -> None:
    def tale(story: Story) -> None:
        outcome = story.journal.write(drafts=(draft(message_id="a"),))
        assert outcome.published[0].message.sequence == 1
        assert story.heard == [("delivered", "a")]
        story.writer.failures.append(WriteFailed("disk full"))
        with pytest.raises(Unavailable, match="disk full"):
            story.journal.write(drafts=(draft(message_id="b"),))
        assert story.journal.write(drafts=(draft(message_id="a"),)).published[0].duplicate

    tell(tale)


def test_a_disk_that_never_answers_is_not_waited_for(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ANSWER_TIMEOUT", 0.01)

    def tale(story: Story) -> None:
        story.hold()
        with pytest.raises(Unavailable, match="may still store this"):
            story.journal.write(drafts=(draft(message_id="a"),))
        story.writer.go_on(2)

    tell(tale)


# Upkeep


def test_upkeep_runs_beside_publishing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.journal.write(drafts=(draft(message_id="a"), draft(message_id="b")))
        assert story.journal.upkeep(lambda writer: writer.index(1)) == 1
        assert story.journal.upkeep(lambda writer: writer.index(10)) == 1
        assert story.journal.upkeep(lambda writer: writer.index(10)) == 0

    tell(tale)


def test_at_most_one_step_of_upkeep_comes_between_two_transactions(tell: Tell) -> None:
    def tale(story: Story) -> list[str]:
        order: list[str] = []

        def step(writer: Writer) -> int:
            order.append(f"upkeep after {len(story.writer.batches)}")
            return 0

        story.hold()
        tasks = [story.runtime.spawn(story.journal.upkeep, step) for _ in range(2)]
        story.runtime.sleep(0)
        story.append("a")
        story._began.clear()
        story.writer.go_on()
        assert story._began.wait(PATIENCE)
        story.writer.go_on()
        assert all(task.wait(PATIENCE) for task in tasks)
        return order

    assert tell(tale) == ["upkeep after 1", "upkeep after 2"]


def test_upkeep_that_fails_harms_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        def fail(writer: Writer) -> int:
            raise WriteFailed("disk full")

        with pytest.raises(Unavailable, match="disk full"):
            story.journal.upkeep(fail)
        story.journal.write(drafts=(draft(message_id="a"),))

    tell(tale)


def test_what_one_turn_of_the_loop_brings_shares_a_transaction(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for name in "abc":
            story.append(name)
        story.wait_for(*"abc")
        story.append("d")
        story.wait_for("d")
        assert story.sizes() == [3, 1]

    tell(tale)


def test_upkeep_is_not_taken_for_a_long_delivery(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one, what comes first waits a moment for others; after upkeep there are none."""
    monkeypatch.setattr(journal_module, "GATHER_SECONDS", 2 * PATIENCE)

    def tale(story: Story) -> None:
        story.hold()
        story.append("a")
        story.append("b")
        story.writer.go_on(2)
        story.wait_for("a", "b")
        story.writer.is_held = False
        story.steady += 60.0
        story.journal.upkeep(lambda writer: 0)
        story.append("c")
        story.wait_for("c")

    tell(tale)


# The end


def test_closing_commits_what_waits_and_refuses_what_comes(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.hold()
        story.append("a")
        closing = story.runtime.spawn(story.stop)
        story.runtime.sleep(0)
        with pytest.raises(Unavailable, match="stopping"):
            story.append("late")
        with pytest.raises(Unavailable, match="stopping"):
            story.journal.upkeep(lambda writer: 0)
        story.writer.go_on(2)
        assert closing.wait(PATIENCE)
        assert story.writer.is_closed
        assert [each for each in story.heard if each[0] == "answered"] == [
            ("answered", "first"),
            ("answered", "a"),
        ]
        log = story.log()
        assert [message.message_id for message in log] == ["first", "a"]

    tell(tale)


def test_closing_with_a_disk_that_hangs_refuses_what_waits(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.hold()
        story.append("a")
        story.stop(0.01)
        assert story.heard == [("refused", "a")]
        story.writer.go_on()
        story.wait_for("first")
        assert story.heard[-1] == ("answered", "first")
        assert story.sizes() == [1]

    tell(tale)


def test_closing_with_a_disk_that_hangs_refuses_upkeep(tell: Tell) -> None:
    def tale(story: Story) -> None:
        refusals: list[Unavailable] = []

        def index() -> None:
            try:
                story.journal.upkeep(lambda writer: writer.index(1))
            except Unavailable as error:
                refusals.append(error)

        story.hold()
        task = story.runtime.spawn(index)
        story.runtime.sleep(0)
        story.stop(0.01)
        assert task.wait(PATIENCE)
        assert "stopped" in refusals[0].message
        story.writer.go_on()
        story.wait_for("first")

    tell(tale)
