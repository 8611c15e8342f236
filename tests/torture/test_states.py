"""Everything that can happen to a log and its subscribers, in any order, beside a simple model."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loops import run_on_loop
from python_pubsub_server import hub, replaying, upkeep
from python_pubsub_server.model import Claim, is_pattern, matches
from python_pubsub_server.runtime import Runtime

from .amount import amount
from .tally import Tally
from .world import Recorder, World, draft, wanting

WINDOW = 120.0
TOPICS = ["host:a", "host:b", "jobs"]
WANTED = [*TOPICS, "*", "host:*", "host:a*", "later"]
CONSUMERS = ["ann", "bob"]
CONNECTIONS = ["one", "two", "three"]
IDS = ["m1", "m2", "m3"]

starts = st.one_of(st.none(), st.integers(0, 12), st.sampled_from(["beginning", "consumed"]))
positions = st.dictionaries(
    st.sampled_from(WANTED),
    st.one_of(st.integers(0, 12), st.sampled_from(["beginning", "consumed"])),
)
after = st.one_of(starts, positions)
drafts = st.tuples(st.sampled_from(TOPICS), st.sampled_from(IDS), st.integers(0, 1))


class Stored(NamedTuple):
    position: int
    message_id: str
    content: int
    at: float


class Log:
    """What the server must remember: lists and sets, no cleverness."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Stored]] = defaultdict(list)
        self.first: dict[str, int] = defaultdict(lambda: 1)
        self.interests: dict[str, dict[str, int]] = defaultdict(dict)
        self.consumed: set[tuple[str, str, int]] = set()
        self.position = 0
        self.lost: set[tuple[str, str, int]] = set()  # trimmed before it was consumed
        self.announced: set[tuple[str, str, int]] = set()
        self.told: set[tuple[str, str, int]] = set()
        # Trimmed, and once older than the window. The clock of a node that is started again may be
        # behind the one before it, and takes them for younger; they may be known still, or not.
        self.over: set[tuple[str, int]] = set()

    def publish(
        self, topic: str, message_id: str, content: int, at: float, is_known: bool
    ) -> tuple[int, bool]:
        """The sequence, and whether it is a duplicate; `is_known` is what the server says."""
        log = self.messages[topic]
        for sequence in range(len(log), 0, -1):  # also what was trimmed since
            known = log[sequence - 1]
            is_same = known[1:3] == (message_id, content) and known.at >= at - WINDOW
            if is_same and (is_known or (topic, sequence) not in self.over):
                return sequence, True
        self.position += 1
        log.append(Stored(self.position, message_id, content, at))
        return len(log), False

    def age(self, now: float) -> None:
        """Note of what is trimmed whose window is over."""
        self.over |= {
            (topic, sequence)
            for topic, first in self.first.items()
            for sequence in range(1, first)
            if self.messages[topic][sequence - 1].at < now - WINDOW
        }

    def claim(self, claim: Claim) -> int | None:
        """How many consumptions are new; None: there is no such message."""
        found = [
            sequence
            for sequence in self.retained(claim.topic)
            if self.messages[claim.topic][sequence - 1].message_id == claim.message_id
            and claim.sequence in (None, sequence)
        ]
        new = {(claim.consumer, claim.topic, sequence) for sequence in found} - self.consumed
        self.consumed |= new
        for consumer, topic, _ in new:
            self.told |= {each for each in self.announced if each[:2] == (consumer, topic)}
        return len(new) if found else None

    def retained(self, topic: str) -> range:
        return range(self.first[topic], len(self.messages[topic]) + 1)

    def unconsumed(self, consumer: str, topic: str, last: int) -> list[int]:
        since = [p for wanted, p in self.interests[consumer].items() if matches(wanted, topic)]
        return [
            sequence
            for sequence in self.retained(topic)
            if sequence <= last
            and self.messages[topic][sequence - 1].position > min(since)
            and (consumer, topic, sequence) not in self.consumed
        ]

    def covered(self, wanted: str) -> list[str]:
        if not is_pattern(wanted):
            return [wanted]
        return [topic for topic, log in self.messages.items() if log and matches(wanted, topic)]


class Wanted:
    """A connection, what it subscribed to, and what it must have heard of each topic."""

    def __init__(self, name: str) -> None:
        self.recorder = Recorder(name)
        self.topics: set[str] = set()
        self.heard: dict[str, list[tuple[int, bool]]] = defaultdict(list)

    def gets(self, topic: str) -> bool:
        return any(matches(wanted, topic) for wanted in self.topics)


class AnyHistory(RuleBasedStateMachine):
    runtime: Runtime
    durability: str
    tally: Tally

    @initialize(
        limit=st.sampled_from([2, 5, 1_000]),
        page=st.sampled_from([1, 3, 500]),
        held=st.sampled_from([4, 10_000]),
    )
    def begin(self, limit: int, page: int, held: int) -> None:
        self.limit = limit
        self.patches: list[Any] = [
            patch.object(replaying, "PAGE", page),
            patch.object(hub, "MAX_HELD", held),
            patch.object(upkeep, "PAUSE_SECONDS", 0.001),  # which a node that is closed ends
        ]
        for each in self.patches:
            each.start()
        self.directory = Path(tempfile.mkdtemp(prefix="torture-"))
        self.world = World(
            self.runtime,
            self.directory,
            durability=self.durability,
            replay_limit=limit,
            deduplication_seconds=WINDOW,
        )
        self.log = Log()
        self.wanted: dict[str, Wanted] = {}
        self.last_at = 0.0
        self.tally.add(random_histories=1)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.node.close()
            for each in self.patches:
                each.stop()
            shutil.rmtree(self.directory)

    # Publishing and consuming

    @rule(asked=st.lists(drafts, min_size=1, max_size=6))
    def publish(self, asked: list[tuple[str, str, int]]) -> None:
        self.note(asked, self.world.publish(*(draft(*each) for each in asked)))

    def note(self, asked: list[tuple[str, str, int]], published: list[Any]) -> None:
        """Compare what became of drafts, and what it means for those who listen."""
        for (topic, message_id, content), each in zip(asked, published, strict=True):
            at = self.world.node.clock.now()
            sequence, is_duplicate = self.log.publish(
                topic, message_id, content, at, each.duplicate
            )
            self.tally.add(publishes_in_them=1, of_them_duplicates=is_duplicate)
            assert (each.message.sequence, each.duplicate) == (sequence, is_duplicate)
            if is_duplicate:
                continue
            assert each.message.timestamp == at >= self.last_at
            self.last_at = at
            for wanted in self.wanted.values():
                if wanted.gets(topic):
                    wanted.heard[topic].append((sequence, False))

    @rule(
        consumer=st.sampled_from(CONSUMERS),
        topic=st.sampled_from(TOPICS),
        message_id=st.sampled_from(IDS),
        sequence=st.one_of(st.none(), st.integers(1, 12)),
        times=st.integers(1, 2),
    )
    def consume(
        self, consumer: str, topic: str, message_id: str, sequence: int | None, times: int
    ) -> None:
        claims = [Claim(consumer, topic, message_id, sequence)] * times
        assert self.world.claim(*claims) == [self.log.claim(claim) for claim in claims]

    @precondition(lambda self: self.log.position)
    @rule(consumer=st.sampled_from(CONSUMERS), pick=st.randoms(use_true_random=False))
    def consume_what_there_is(self, consumer: str, pick: Any) -> None:
        there = [(topic, n) for topic in TOPICS for n in self.log.retained(topic)]
        claims = [
            Claim(consumer, topic, self.log.messages[topic][n - 1].message_id, n)
            for topic, n in pick.sample(there, len(there) // 2)
        ]
        assert self.world.claim(*claims) == [self.log.claim(claim) for claim in claims]

    # Subscribing

    @rule(
        name=st.sampled_from(CONNECTIONS),
        consumer=st.sampled_from(CONSUMERS),
        topics=st.lists(st.sampled_from(WANTED), min_size=1, max_size=3, unique=True),
        after=after,
        epoch=st.sampled_from([None, "same", "another"]),
    )
    def subscribe(
        self, name: str, consumer: str, topics: list[str], after: Any, epoch: str | None
    ) -> None:
        wanted = self.wanted.setdefault(name, Wanted(name))
        self.join(wanted, consumer, topics, after, epoch)

    @rule(
        name=st.sampled_from(CONNECTIONS),
        consumer=st.sampled_from(CONSUMERS),
        topics=st.lists(st.sampled_from(WANTED), min_size=1, max_size=3, unique=True),
        after=after,
        asked=st.lists(drafts, min_size=1, max_size=30),
        size=st.integers(1, 4),
    )
    def subscribe_while_others_publish(
        self,
        name: str,
        consumer: str,
        topics: list[str],
        after: Any,
        asked: list[tuple[str, str, int]],
        size: int,
    ) -> None:
        self.disconnect(name)
        wanted = Wanted(name)
        wanted.recorder.room = lambda: self.runtime.sleep(0)
        batches = [asked[n : n + size] for n in range(0, len(asked), size)]

        def publish() -> None:
            for batch in batches:
                self.note(batch, self.world.publish(*(draft(*each) for each in batch)))

        publishing = self.runtime.spawn(publish)
        self.join(wanted, consumer, topics, after, None, publishing.wait)
        self.wanted[name] = wanted

    def join(
        self,
        wanted: Wanted,
        consumer: str,
        topics: list[str],
        after: Any,
        epoch: str | None,
        settle: Callable[[], object] = dict,
    ) -> None:
        """Subscribe, and work out what the connection must have heard when all has settled."""
        before = self.log.position
        epochs = {None: None, "same": self.world.node.epoch, "another": "another"}
        answer = self.world.subscribe(
            wanted.recorder, wanting(consumer, *topics, after=after, epoch=epochs[epoch])
        )
        settle()
        self.tally.add(subscribes_in_them=1)
        assert wanted.recorder.closed is None
        stands = {
            each.topic: each
            for joined in answer.topics
            for each in (joined.topics or () if is_pattern(joined.topic) else [joined])
        }
        for topic in topics:
            since = self.world.node.readers.read(partial(_since, consumer, topic))
            known = self.log.interests[consumer].get(topic)
            assert before <= since <= self.log.position if known is None else since == known
            self.log.interests[consumer][topic] = since
        wanted.topics.update(topics)
        for topic, stand in stands.items():
            replay, is_recovered = self.missed(
                consumer, topics, topic, after, stand.sequence, epoch == "another"
            )
            assert (stand.replayed, stand.recovered) == (
                len(replay or ()),
                is_recovered,
            ), (topic, stand)
            if replay is not None:
                wanted.heard[topic] += [(sequence, True) for sequence in replay]
        for topic in {each for wanted_topic in topics for each in self.log.covered(wanted_topic)}:
            begin = stands[topic].sequence if topic in stands else 0  # 0: it came since
            end = len(self.log.messages[topic])
            wanted.heard[topic] += [(sequence, False) for sequence in range(begin + 1, end + 1)]

    def missed(
        self,
        consumer: str,
        topics: list[str],
        topic: str,
        after: Any,
        last: int,
        is_another: bool,
    ) -> tuple[list[int] | None, bool]:
        """What must be replayed of a topic (None: nothing was asked for), and if that is all."""
        first = self.log.first[topic]
        for wanted in (each for each in topics if matches(each, topic)):
            if is_pattern(wanted) and last == 0:
                continue  # there is no such topic yet for the pattern to cover
            start = after
            if isinstance(after, dict):
                start = after.get(topic, after.get(wanted))
                if start is None and is_pattern(wanted):
                    start = "beginning" if any(matches(wanted, known) for known in after) else None
            if start is None:
                continue
            if start == "consumed":
                due = self.log.unconsumed(consumer, topic, last)
                lost = {each for each in self.log.lost if each[:2] == (consumer, topic)}
                is_whole = len(due) <= self.limit and lost <= self.log.told
                self.log.announced |= lost
                return due[: self.limit], is_whole and not is_another
            if isinstance(start, int) and not is_another:
                if start > last:
                    return [], False
                begin = start + 1
            else:
                begin = first
            told = max(begin, first, last - self.limit + 1)
            is_whole = told == begin and not is_another
            return list(range(told, last + 1)), is_whole
        return None, not is_another

    @rule(name=st.sampled_from(CONNECTIONS), topics=st.lists(st.sampled_from(WANTED), max_size=3))
    def unsubscribe(self, name: str, topics: list[str]) -> None:
        if name in self.wanted:
            wanted = self.wanted[name]
            left = self.world.node.subscribing.unsubscribe(wanted.recorder, topics or None)
            leaving = wanted.topics & set(topics or wanted.topics)
            assert set(left) == leaving
            wanted.topics -= leaving

    @rule(name=st.sampled_from(CONNECTIONS))
    def disconnect(self, name: str) -> None:
        if name in self.wanted:
            self.world.disconnect(self.wanted.pop(name).recorder)

    # The log's own life

    @rule(keep=st.integers(1, 6))
    def trim_what_is_too_much(self, keep: int) -> None:
        self.world.trim(messages=keep)
        self.tally.add(trims_in_them=1)
        for topic, log in self.log.messages.items():
            self.forget(topic, max(self.log.first[topic], len(log) - keep + 1))

    @rule(seconds=st.sampled_from([1.0, 50.0]))
    def trim_what_is_too_old(self, seconds: float) -> None:
        self.world.trim(seconds=seconds)
        self.tally.add(trims_in_them=1)
        before = self.world.node.clock.now() - seconds
        for topic, log in self.log.messages.items():
            kept = [n for n in self.log.retained(topic) if log[n - 1].at >= before]
            self.forget(topic, kept[0] if kept else len(log) + 1)

    def forget(self, topic: str, first: int) -> None:
        for consumer, interests in self.log.interests.items():
            if any(matches(wanted, topic) for wanted in interests):
                self.log.lost |= {
                    (consumer, topic, sequence)
                    for sequence in self.log.unconsumed(consumer, topic, first - 1)
                }
        self.log.first[topic] = first
        self.log.age(self.world.node.clock.now())
        self.log.consumed = {
            each for each in self.log.consumed if each[1] != topic or each[2] >= first
        }

    @rule(seconds=st.sampled_from([0.5, 40.0, 121.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clocks.advance(seconds)
        self.log.age(self.world.node.clock.now())

    @rule()
    def the_clock_is_set_back(self) -> None:
        self.world.clocks.set_back(3_600.0)

    @rule()
    def restart(self) -> None:
        epoch = self.world.node.epoch
        self.world.restart()
        self.tally.add(restarts_in_them=1)
        assert self.world.node.epoch == epoch
        self.wanted.clear()

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        for topic in TOPICS:
            assert self.world.sequences(topic) == list(self.log.retained(topic))
        for wanted in self.wanted.values():
            heard = {topic: got for topic, got in wanted.recorder.heard.items() if got}
            assert heard == {topic: got for topic, got in wanted.heard.items() if got}
            for (topic, sequence), message_id in wanted.recorder.ids.items():
                assert self.log.messages[topic][sequence - 1].message_id == message_id


def _since(consumer: str, topic: str, reader: Any) -> int:
    ((since,),) = reader._rows(
        "SELECT since FROM interests NATURAL JOIN consumers WHERE consumer = ? AND topic = ?",
        (consumer, topic),
    )
    return int(since)


@pytest.mark.parametrize("backend", ["eventlet"])
def test_any_history_is_as_the_model_says(backend: str, durability: str, tally: Tally) -> None:
    def story(runtime: Runtime) -> bool:
        facts = {"runtime": runtime, "durability": durability, "tally": tally}
        case = type("Case", (AnyHistory,), facts)
        run_state_machine_as_test(
            case,
            settings=settings(
                max_examples=amount(short=40, full=400),
                stateful_step_count=amount(short=20, full=30),
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        return True

    assert run_on_loop(backend, story, patience=amount(short=900, full=3_600))
