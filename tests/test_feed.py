from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections import Someone
from loops import PATIENCE, run_on_loop, tell_story, until
from python_pubsub_server import feed as feed_module
from python_pubsub_server.broker import Announcer, Broker
from python_pubsub_server.clock import LogClock
from python_pubsub_server.config import Settings
from python_pubsub_server.deliveries import Deliveries
from python_pubsub_server.errors import Unavailable
from python_pubsub_server.feed import MAX_PART_BYTES, Feed
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import Identity
from python_pubsub_server.journal import Journal
from python_pubsub_server.model import Message
from python_pubsub_server.node import Node
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime, Task
from python_pubsub_server.storage.database import Batch, Reader, Retention, open_database
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.subscribing import Subscribing
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.wire import parse_subscribe
from stories import draft

T = TypeVar("T")

ANN = Identity("127.0.0.1")


class Client(Someone):
    """A connection that keeps what it is sent."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.heard: dict[str, list[int]] = {}
        self.starts: dict[str, int] = {}
        self.on_send: Callable[[], None] = lambda: None
        self.on_broadcast: Callable[[Broadcast], object] = lambda broadcast: None

    def send(self, broadcast: Broadcast) -> None:
        self.on_broadcast(broadcast)
        if self.closed_as is None and broadcast.event == "message":
            for payload in broadcast.payloads:
                message = json.loads(payload)
                self.heard.setdefault(message["topic"], []).append(message["sequence"])
            self.on_send()


class WatchedReaders(Readers):
    """Real readers; a story may do something just after a read, or have it fail."""

    before: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)
    reads = 0

    def read(self, query: Callable[[Reader], T]) -> T:
        self.reads += 1
        self.before()
        result = super().read(query)
        self.after()
        return result


Announced = tuple[int, int, list[Message]]


class Story:
    """A node's way from commit to connection, and another node that commits to the same file."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        self.hub = Hub()
        clock = LogClock()
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.readers = WatchedReaders(database, runtime, threads=2)
        self.feed = Feed(self.hub, self.readers, runtime, 0)
        self.remote: list[int] = []
        self.feed.on_heard = lambda messages: self.remote.extend(m.sequence for m in messages)
        announcer = Announcer(self.feed, Rates())
        deliveries = Deliveries("here", clock, lambda: self.feed.delivered)
        self.journal = Journal(database.writer(), runtime, clock, announcer, deliveries.here)
        deliveries.write_to(self.journal)
        broker = Broker(self.journal, self.hub, self.readers, clock)
        self.subscribing = Subscribing(
            broker, self.feed, deliveries, database.epoch, replay_limit=10_000
        )
        self.other = database.writer()
        self.threads = runtime.native_threads(1, "other-node")
        self.count = 0
        self.clients = [self.client("*")]

    def client(self, *topics: str) -> Client:
        """A connection that is live on these topics."""
        client = Client(f"client-{self.count}-{len(topics)}")
        for topic in topics:
            self.hub.join(self.hub.add(client), topic, 0.0)
        return client

    def subscribe(self, after: int | None) -> Task:
        """A connection that subscribes from a sequence on; a task, for it may take its time."""
        client = Client(f"subscriber-{len(self.clients)}")
        self.clients.append(client)
        wanted = {} if after is None else {"after": after}
        body = json.dumps({"consumer": client.connection_id, "topics": ["a", "b"], **wanted})

        def join() -> None:
            answer = self.subscribing.subscribe(ANN, client, parse_subscribe(body.encode()))
            for topic in answer.topics:
                client.starts[topic.topic] = topic.sequence - topic.replayed

        return self.runtime.spawn(join)

    def drafts(self, topic: str, number: int = 1, size: int = 0) -> list[Any]:
        self.count += number
        return [draft(topic, f"m{n}", "x" * size) for n in range(self.count - number, self.count)]

    def own(self, topic: str = "a", number: int = 1, size: int = 0) -> Task:
        """This node publishes; a task that ends with the answer."""
        drafts = self.drafts(topic, number, size)
        return self.runtime.spawn(lambda: self.journal.write(drafts=drafts))

    def others(self, topic: str = "a", number: int = 1, size: int = 0) -> Announced:
        """Another node publishes; what it would announce."""
        return self.threads.run(self.commit_elsewhere, topic, number, size)

    def commit_elsewhere(self, topic: str, number: int = 1, size: int = 0) -> Announced:
        drafts = self.drafts(topic, number, size)
        outcome = self.other.commit(Batch(1.0, drafts=drafts, arrived_at=[1.0] * number))
        messages = [published.message for published in outcome.published]
        return outcome.position - number + 1, outcome.position, messages

    @property
    def end(self) -> int:
        return self.readers.read(lambda reader: reader.last_position())

    def close(self) -> None:
        self.journal.close(PATIENCE)
        self.feed.close(PATIENCE)
        self.readers.close(PATIENCE)
        self.threads.submit(self.other.close, then=lambda _result, _error: None)
        self.threads.close(PATIENCE)


Tell = Callable[[Callable[[Story], Any]], Any]


def telling(path: Path, tale: Callable[[Story], Any]) -> Any:
    return tell_story(lambda runtime: Story(runtime, path), tale)


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    return lambda tale: telling(tmp_path, tale)


def test_a_node_that_is_alone_never_reads_to_deliver(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for _ in range(5):
            assert story.own(number=3).wait(PATIENCE)
        assert story.clients[0].heard == {"a": list(range(1, 16))}
        assert story.feed.delivered == 15
        assert story.readers.reads == 0

    tell(tale)


def test_what_another_node_announces_is_delivered_at_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        first, last, messages = story.others(number=2)
        story.feed.heard(first, last, messages)
        assert story.clients[0].heard == {"a": [1, 2]}
        assert (story.feed.delivered, story.remote) == (2, [1, 2])
        story.feed.heard(first, last, messages)  # twice
        assert story.clients[0].heard == {"a": [1, 2]}
        assert story.readers.reads == 0

    tell(tale)


def test_an_announcement_without_messages_is_read(tell: Tell) -> None:
    def tale(story: Story) -> None:
        first, last, _ = story.others(number=1_200)
        story.feed.heard(first, last, None)
        story.feed.settle(last)
        assert story.clients[0].heard == {"a": list(range(1, 1_201))}
        assert story.remote == list(range(1, 1_201))

    tell(tale)


def test_a_range_that_comes_early_waits_for_what_is_before_it(tell: Tell) -> None:
    def tale(story: Story) -> None:
        one, two, three = (story.others("a") for _ in range(3))
        story.feed.heard(*three)
        story.feed.heard(*two)
        assert story.clients[0].heard == {}
        story.feed.heard(*one)
        assert story.clients[0].heard == {"a": [1, 2, 3]}

    tell(tale)


def test_a_lost_announcement_is_found_by_the_next_one_or_by_looking(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.others()
        story.feed.heard(*story.others())
        story.feed.settle(2)
        assert story.clients[0].heard == {"a": [1, 2]}
        story.others()
        is_there = story.runtime.event()
        story.clients[0].on_send = is_there.set
        story.feed.poll(0.01)
        assert is_there.wait(PATIENCE)
        is_there.clear()
        story.others()
        assert is_there.wait(PATIENCE)
        assert story.clients[0].heard == {"a": [1, 2, 3, 4]}
        story.feed.poll(None)

    tell(tale)


def test_an_own_commit_is_answered_behind_what_is_before_it(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.others(number=700)
        own = story.own(number=2)
        assert own.wait(PATIENCE)
        assert story.clients[0].heard == {"a": list(range(1, 703))}
        assert story.remote == list(range(1, 701))

    tell(tale)


def test_an_own_commit_between_others_that_came_early(tell: Tell) -> None:
    def tale(story: Story) -> None:
        early: list[Announced] = []
        commit = story.journal._writer.commit

        def committing(batch: Batch) -> Any:
            outcome = commit(batch)
            early.append(story.commit_elsewhere("b"))
            return outcome

        with patch.object(story.journal._writer, "commit", committing):
            own = story.own("a")
            until(story.runtime, lambda: early)
        story.feed.heard(*early[0])
        assert own.wait(PATIENCE)
        story.feed.settle(2)
        assert story.clients[0].heard == {"a": [1], "b": [1]}

    tell(tale)


def test_a_big_range_of_another_node_leaves_in_parts_before_what_comes_behind(
    tell: Tell,
) -> None:
    def tale(story: Story) -> None:
        size = MAX_PART_BYTES // 3
        big = story.others(number=10, size=size)
        story.feed.heard(*big)
        own = story.own("a")
        assert own.wait(PATIENCE)
        assert story.clients[0].heard == {"a": list(range(1, 12))}

    tell(tale)


def test_a_small_outbound_budget_makes_small_parts(tmp_path: Path) -> None:
    """A reader that reads well has room for some of them; a whole batch would close it."""

    def story(runtime: Runtime) -> list[tuple[int, int]]:
        url = f"sqlite:///{tmp_path}/log.db"
        node = Node(Settings(database_url=url, outbound_bytes=80_000), runtime)
        sent: list[tuple[int, int]] = []
        client = Client("client")
        node.hub.join(node.hub.add(client), "*", 0.0)
        client.on_broadcast = lambda b: sent.append((len(b.payloads), sum(map(len, b.payloads))))
        node.broker.publish(ANN, [draft("a", f"m{n}", "x" * 1_000) for n in range(100)])
        assert client.heard == {"a": list(range(1, 101))}
        node.close()
        return sent

    sent = run_on_loop("eventlet", story)
    assert sum(count for count, _ in sent) == 100
    assert max(size for _, size in sent) <= 80_000 // 8


def test_more_than_can_be_kept_is_read_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        first = story.others()
        announced = [story.others() for _ in range(10)]
        for each in reversed(announced):
            story.feed.heard(*each)
        story.feed.heard(*first)
        story.feed.settle(11)
        assert story.clients[0].heard == {"a": list(range(1, 12))}

    with patch.object(feed_module, "MAX_AHEAD", 3):
        tell(tale)


def test_settling_waits_for_what_a_reader_saw(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.feed.settle(0)
        _, last, _ = story.others(number=3)
        story.feed.settle(last)  # no word of it came: it is read
        assert story.clients[0].heard == {"a": [1, 2, 3]}

    tell(tale)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_replay_that_sees_what_is_not_delivered_yet_meets_it_once(tell: Tell, nth: int) -> None:
    def tale(story: Story) -> None:
        story.feed.heard(*story.others("a", number=3))
        reads = 0

        def before() -> None:
            nonlocal reads
            reads += 1
            if reads == nth:
                story.commit_elsewhere("a", 2)

        story.readers.before = before
        assert story.subscribe(after=0).wait(PATIENCE)
        story.readers.before = lambda: None
        if reads < nth:
            story.commit_elsewhere("a", 2)
        story.feed.settle(5)
        story.feed.heard(*story.others("a"))
        for client in story.clients:
            assert client.heard == {"a": [1, 2, 3, 4, 5, 6]}

    tell(tale)


def test_settling_gives_up_when_the_log_cannot_be_read(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        story.others()
        story.readers.before = unreadable
        with (
            patch.object(feed_module, "SETTLE_SECONDS", 0.1),
            pytest.raises(Unavailable, match="behind with its deliveries"),
        ):
            story.feed.settle(1)
        story.readers.before = lambda: None
        story.feed.settle(1)
        assert story.clients[0].heard == {"a": [1]}
        assert story.clients[0].closed_as is None

    tell(tale)
    assert [record.msg for record in caplog.records] == ["catching_up_failed"]


def test_a_publisher_does_not_wait_for_ever_for_a_gap_that_cannot_be_read(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        story.readers.before = unreadable
        story.others()
        own = story.own()
        assert own.wait(PATIENCE)
        assert story.clients[0].heard == {}
        assert story.clients[0].closed_as == "missed messages"
        assert story.feed.delivered == 2
        follower = story.client("*")
        assert story.own().wait(PATIENCE)
        assert follower.heard == {"a": [3]}

    with patch.object(feed_module, "GAP_SECONDS", 0.05):
        tell(tale)
    assert {record.msg for record in caplog.records} == {
        "catching_up_failed",
        "deliveries_skipped",
    }


def test_what_was_trimmed_before_it_was_delivered_is_said(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        story.others("a", number=5)
        story.others("b", number=2)
        story.threads.run(story.other.trim, Retention(2, None), 2.0, 100)
        story.feed.settle(7)
        assert story.clients[0].closed_as == "missed messages"
        assert story.feed.delivered == 7

    with caplog.at_level(logging.ERROR):
        tell(tale)
    assert [record.msg for record in caplog.records] == ["deliveries_skipped"]


def test_an_announcement_of_what_the_log_does_not_have_is_looked_up_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.others()
        story.feed.heard(50, 60, None)
        story.feed.settle(1)
        reads = story.readers.reads
        story.runtime.sleep(0.05)  # in which it could look again and again
        assert story.readers.reads <= reads + 1
        assert story.own().wait(PATIENCE)
        assert story.clients[0].heard == {"a": [1, 2]}

    tell(tale)


def test_a_delivery_that_fails_sends_everybody_to_the_log_and_goes_on(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        _, last, _ = story.others()
        with patch.object(story.clients[0], "send", side_effect=RuntimeError("broken")):
            story.feed.heard(1, 1, None)
            story.feed.settle(last)
        assert story.clients[0].closed_as == "delivery failed"
        follower = story.client("*")
        story.feed.heard(*story.others())
        assert follower.heard == {"a": [2]}

    tell(tale)
    assert [record.msg for record in caplog.records] == ["catching_up_failed"]


def unreadable() -> None:
    raise Unavailable("The database cannot be read")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("own"), st.sampled_from("ab"), st.integers(1, 3)),
        st.tuples(st.just("others"), st.sampled_from("ab"), st.integers(1, 3)),
        st.tuples(st.just("announce"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("again"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("lose"), st.integers(0, 3), st.none()),
        st.tuples(st.just("subscribe"), st.one_of(st.none(), st.integers(0, 4)), st.none()),
        st.tuples(st.just("turn"), st.integers(0, 2), st.none()),
        st.tuples(st.just("look"), st.none(), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_each_message_comes_once_and_in_order_whatever_way_it_came(steps: list[Any]) -> None:
    """Own commits, announcements lost, doubled and shuffled, and subscribers in between."""

    def tale(story: Story) -> None:
        network: list[Announced] = []
        sent: list[Announced] = []
        tasks: list[Task] = []
        for step, what, how in steps:
            if step == "own":
                tasks.append(story.own(what, how))
            elif step == "others":
                network.append(story.others(what, how))
            elif step in ("announce", "lose") and network:
                first, last, messages = network.pop(what % len(network))
                sent.append((first, last, messages))
                if step == "announce":
                    story.feed.heard(first, last, messages if how else None)
            elif step == "again" and sent:
                first, last, messages = sent[what % len(sent)]
                story.feed.heard(first, last, messages if how else None)
            elif step == "subscribe":
                tasks.append(story.subscribe(what))
            elif step == "turn":
                story.runtime.sleep(what / 1_000)
            else:
                story.feed.poll(None)
        for task in tasks:
            assert task.wait(PATIENCE)
        end = story.end
        story.feed.settle(end)
        assert story.feed.delivered == end
        for topic in "ab":
            last = story.readers.read(lambda r, t=topic: r.position(t)).sequence
            for client in story.clients:
                start = client.starts.get(topic, 0)
                assert client.heard.get(topic, []) == list(range(start + 1, last + 1))
                assert client.closed_as is None

    with tempfile.TemporaryDirectory() as path:
        telling(Path(path), tale)
