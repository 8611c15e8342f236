from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from connections import Someone
from loops import PATIENCE, tell_story
from python_pubsub_server import hub as hub_module
from python_pubsub_server import subscribing as subscribing_module
from python_pubsub_server.broker import Announcer, Broker
from python_pubsub_server.clock import LogClock
from python_pubsub_server.deliveries import Deliveries
from python_pubsub_server.errors import Invalid, Unavailable
from python_pubsub_server.feed import Feed
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import Identity
from python_pubsub_server.journal import Journal
from python_pubsub_server.model import Claim, Ledger, Page
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import Reader, Retention, open_database
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.storage.sqlite_reader import SQLiteReader
from python_pubsub_server.subscribing import Subscribed, Subscribing
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.room import has_room
from python_pubsub_server.wire import MAX_SUBSCRIPTIONS, parse_subscribe
from stories import draft

T = TypeVar("T")

ANN = Identity("127.0.0.1")
OTHER_EPOCH = "another-log"


class Client(Someone):
    """A connection that keeps what it is sent; `on_drain` says whether it takes a page."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.events: list[tuple[str, Any]] = []
        self.on_drain: Callable[[], bool] = lambda: True
        self.on_send: Callable[[str], None] = lambda event: None

    def send(self, broadcast: Broadcast) -> None:
        if self.closed_as is None:
            self.events += [(broadcast.event, json.loads(each)) for each in broadcast.payloads]
            self.on_send(broadcast.event)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return self.on_drain()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [body for event, body in self.events if event == "message"]

    def heard(self, topic: str = "news") -> list[int]:
        return [each["sequence"] for each in self.messages if each["topic"] == topic]

    def replayed(self, topic: str = "news") -> list[int]:
        return [
            each["sequence"]
            for each in self.messages
            if each["topic"] == topic and each.get("replayed")
        ]


class WatchedReaders(Readers):
    """Real readers; a story may do something just before a read, or after it."""

    before: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)

    def read(self, query: Callable[[Reader], T]) -> T:
        self.before()
        result = super().read(query)
        self.after()
        return result


class Story:
    """The parts of a node that subscribing needs, on a loop and a file."""

    def __init__(self, runtime: Runtime, path: Path, replay_limit: int, page_bytes: int) -> None:
        self.runtime = runtime
        self.clock = LogClock()
        self.hub = Hub()
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.epoch = database.epoch
        self.readers = WatchedReaders(database, runtime, threads=1)
        self.feed = Feed(self.hub, self.readers, runtime, 0)
        self.announcer = Announcer(self.feed, Rates())
        self.deliveries = Deliveries("node", self.clock, lambda: self.feed.delivered)
        self.journal = Journal(
            database.writer(), runtime, self.clock, self.announcer, self.deliveries.here
        )
        self.deliveries.write_to(self.journal)
        self.broker = Broker(self.journal, self.hub, self.readers, self.clock)
        self.subscribing = Subscribing(
            self.broker,
            self.feed,
            self.deliveries,
            self.epoch,
            replay_limit=replay_limit,
            page_bytes=page_bytes,
        )
        self.count = 0
        self.clients = 0

    def publish(self, *topics: str, size: int = 0) -> None:
        """Publish on these topics (a number: so many on `news`), in one commit."""
        drafts = []
        for topic in topics:
            self.count += 1
            drafts.append(draft(topic, f"m{self.count}", "x" * size))
        self.journal.write(drafts=drafts)

    def news(self, count: int) -> None:
        self.publish(*["news"] * count)

    def client(self) -> Client:
        self.clients += 1
        return Client(f"client-{self.clients}")

    def subscribe(
        self, *topics: str, client: Client | None = None, consumer: str = "carl", **more: Any
    ) -> tuple[Client, Subscribed]:
        client = client or self.client()
        body = json.dumps({"consumer": consumer, "topics": topics, **more}).encode()
        return client, self.subscribing.subscribe(ANN, client, parse_subscribe(body))

    def consume(self, *sequences: int, consumer: str = "carl", topic: str = "news") -> None:
        page = self.readers.read(lambda reader: reader.log(topic, 0, 10_000, 2**40))
        ids = {message.sequence: message.message_id for message in page.messages}
        claims = [Claim(consumer, topic, ids[n], n) for n in sequences]
        assert self.journal.write(claims=claims).claimed == [1] * len(claims)

    def trim(self, keep: int) -> None:
        while self.journal.upkeep(lambda writer: writer.trim(Retention(keep, None), 0.0, 100)):
            pass

    def first_time(self, *topics: str, consumer: str = "carl") -> None:
        """A consumer was here once, and left."""
        client, _ = self.subscribe(*topics, consumer=consumer)
        self.subscribing.disconnect(client)

    def ledger(self, sequence: int, topic: str = "news") -> Ledger:
        self.journal.write()  # what was written without waiting is before this
        here = self.deliveries.position()
        ledger = self.readers.read(lambda reader: reader.ledger(topic, sequence, here))
        assert ledger is not None
        return ledger

    def sent_to(self, sequence: int, topic: str = "news") -> list[str]:
        return [each.consumer for each in self.ledger(sequence, topic).consumers]

    def verdict(self, sequence: int, consumer: str = "carl", topic: str = "news") -> str:
        self.journal.write()
        here = self.deliveries.position()
        return self.readers.read(lambda r: r.explain(topic, sequence, consumer, here)).verdict

    def close(self) -> None:
        self.journal.close(PATIENCE)
        self.feed.close(PATIENCE)
        self.readers.close(PATIENCE)


Tell = Callable[..., Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    def run(
        tale: Callable[[Story], Any], *, replay_limit: int = 10_000, page_bytes: int = 2**20
    ) -> Any:
        return tell_story(lambda runtime: Story(runtime, tmp_path, replay_limit, page_bytes), tale)

    return run


def once(do: Callable[[], None]) -> Callable[[], None]:
    """Does something the first time only; what it causes itself does not count."""
    left = [do]

    def act() -> None:
        if left:
            left.pop()()

    return act


def check(client: Client, answer: Subscribed, topic: str = "news") -> None:
    """One ascending run, and as many marked as replayed as were announced."""
    (joined,) = [each for each in answer.topics if each.topic == topic]
    assert len(client.replayed(topic)) == joined.replayed
    heard = client.heard(topic)
    assert heard == sorted(set(heard))
    assert client.replayed(topic) == heard[: joined.replayed]
    assert client.events[0][0] == "subscribed"


# Where a replay begins


def test_without_after_only_what_is_new_comes(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(3)
        client, answer = story.subscribe("news")
        story.news(2)
        (joined,) = answer.topics
        assert (joined.sequence, joined.first, joined.replayed, joined.recovered) == (3, 1, 0, True)
        assert client.heard() == [4, 5]
        assert client.replayed() == []
        assert client.events[0] == (
            "subscribed",
            {
                "status": "ok",
                "epoch": story.epoch,
                "consumer": "carl",
                "topics": [
                    {"topic": "news", "sequence": 3, "first": 1, "replayed": 0, "recovered": True}
                ],
            },
        )

    tell(tale)


@pytest.mark.parametrize(
    ("after", "begin", "recovered"),
    [
        (0, 1, True),
        (2, 3, True),
        (4, 5, True),
        (5, 6, True),
        (6, 6, False),
        (2**63 - 1, 6, False),
        ("beginning", 1, True),
        ({"news": 3}, 4, True),
        ({"news": "beginning"}, 1, True),
        ({"other": 3}, 6, True),
        ({}, 6, True),
    ],
)
def test_a_replay_begins_behind_after(tell: Tell, after: Any, begin: int, recovered: bool) -> None:
    def tale(story: Story) -> None:
        story.news(5)
        client, answer = story.subscribe("news", after=after, epoch=story.epoch)
        story.news(2)
        assert client.heard() == list(range(begin, 8))
        assert client.replayed() == list(range(begin, 6))
        assert answer.topics[0].recovered is recovered
        check(client, answer)

    tell(tale)


def test_a_topic_that_does_not_exist_yet(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for after, recovered in ((0, True), ("beginning", True), ("consumed", True), (3, False)):
            client, answer = story.subscribe("news", after=after)
            (joined,) = answer.topics
            assert (joined.sequence, joined.first, joined.replayed) == (0, 1, 0)
            assert joined.recovered is recovered
            assert client.messages == []

    tell(tale)


@pytest.mark.parametrize(
    ("after", "recovered", "begin"),
    [(1, False, 4), (2, False, 4), (3, True, 4), ("beginning", True, 4)],
)
def test_trimmed_history_is_told_and_what_is_left_comes(
    tell: Tell, after: Any, recovered: bool, begin: int
) -> None:
    def tale(story: Story) -> None:
        story.news(6)
        story.trim(3)
        client, answer = story.subscribe("news", after=after, epoch=story.epoch)
        assert client.replayed() == list(range(begin, 7))
        (joined,) = answer.topics
        assert (joined.first, joined.recovered) == (4, recovered)
        check(client, answer)

    tell(tale)


@pytest.mark.parametrize("after", [0, 2, 5, 99])
def test_a_sequence_of_another_log_means_nothing_here(tell: Tell, after: int) -> None:
    def tale(story: Story) -> None:
        story.news(5)
        client, answer = story.subscribe("news", after=after, epoch=OTHER_EPOCH)
        assert client.replayed() == [1, 2, 3, 4, 5]
        assert (answer.epoch, answer.topics[0].recovered) == (story.epoch, False)
        check(client, answer)

    tell(tale)


def test_a_pattern_resumed_on_another_log_is_not_recovered_however_empty(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, answer = story.subscribe("host:*", after={"host:a": 5}, epoch=OTHER_EPOCH)
        assert answer.topics[0].recovered is False
        story.publish("host:b")
        _, answer = story.subscribe("host:*", after={"host:a": 5}, epoch=OTHER_EPOCH)
        assert answer.topics[0].recovered is False
        _, answer = story.subscribe("host:*", epoch=OTHER_EPOCH)
        assert answer.topics[0].recovered is False  # whatever it had, is lost

    tell(tale)


@pytest.mark.parametrize("after", [0, "beginning"])
def test_of_too_much_the_newest_come(tell: Tell, after: Any) -> None:
    def tale(story: Story) -> None:
        story.news(9)
        client, answer = story.subscribe("news", after=after)
        assert client.replayed() == [6, 7, 8, 9]
        assert answer.topics[0].recovered is False
        client, answer = story.subscribe("news", after=5)
        assert client.replayed() == [6, 7, 8, 9]
        assert answer.topics[0].recovered is True

    tell(tale, replay_limit=4)


# What was not consumed


def test_what_was_not_consumed_comes_in_order(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(2)
        story.first_time("news")
        story.news(5)
        story.consume(4, 6)
        client, answer = story.subscribe("news", after="consumed")
        story.news(1)
        assert client.replayed() == [3, 5, 7]
        assert client.heard() == [3, 5, 7, 8]
        assert (answer.topics[0].replayed, answer.topics[0].recovered) == (3, True)
        check(client, answer)

    tell(tale)


def test_the_first_time_there_is_nothing_to_consume(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(3)
        client, answer = story.subscribe("news", after="consumed")
        assert client.messages == []
        assert (answer.topics[0].replayed, answer.topics[0].recovered) == (0, True)

    tell(tale)


def test_of_too_much_unconsumed_the_oldest_come_and_the_ledger_knows_which(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(2)
        story.first_time("news")
        story.news(6)
        story.consume(4)
        client, answer = story.subscribe("news", after="consumed")
        story.news(1)
        assert client.heard() == [3, 5, 6, 9]
        assert (answer.topics[0].replayed, answer.topics[0].recovered) == (3, False)
        sent = [n for n in range(1, 10) if "carl" in story.sent_to(n)]
        assert sent == [3, 4, 5, 6, 9]  # 4 was consumed
        assert [story.verdict(n) for n in (1, 3, 4, 7, 9)] == [
            "not_subscribed", "delivered", "consumed", "not_subscribed", "delivered"
        ]  # fmt: skip
        story.consume(3, 5, 6)
        client, answer = story.subscribe("news", after="consumed")
        assert client.heard() == [7, 8, 9]
        assert answer.topics[0].recovered is True

    tell(tale, replay_limit=3)


def test_long_backlogs_come_in_pages_each_time_that_there_is_room(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        for _ in range(4):
            story.publish(*["news"] * 10, size=1_000)
        for after in ("consumed", "beginning"):
            client = story.client()
            drains = []

            def drained() -> bool:
                drains.append(len(client.messages))  # noqa: B023 - called before the next turn
                return True

            client.on_drain = drained
            _, answer = story.subscribe("news", client=client, after=after)
            assert client.replayed() == list(range(1, 41))
            assert len(drains) > 5
            assert max(b - a for a, b in pairwise(drains)) <= 4
            check(client, answer)

    tell(tale, page_bytes=5_000)


# Patterns


def test_a_pattern_is_replayed_topic_by_topic_and_summed_up(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish("host:a", "host:b", "host:a", "other", "host:b", "host:b")
        client, answer = story.subscribe("host:*", after="beginning")
        story.publish("host:b", "host:c", "other")
        assert (client.heard("host:a"), client.heard("host:b")) == ([1, 2], [1, 2, 3, 4])
        assert (client.heard("host:c"), client.heard("other")) == ([1], [])
        (summary,) = answer.topics
        assert summary.topics is not None
        assert (summary.sequence, summary.first, summary.replayed) == (3, 1, 5)
        assert [(t.topic, t.replayed, t.sequence) for t in summary.topics] == [
            ("host:a", 2, 2),
            ("host:b", 3, 3),
        ]
        assert len(client.replayed("host:b")) == 3

    tell(tale)


def test_a_pattern_resumes_by_topic_and_what_came_since_comes_whole(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish("host:a", "host:a", "host:a", "host:b", "host:b", "new", "host:new")
        after = {"host:a": 1, "host:b": 2}
        client, answer = story.subscribe("host:*", after=after, epoch=story.epoch)
        assert client.heard("host:a") == [2, 3]
        assert client.heard("host:b") == []
        assert client.heard("host:new") == [1]
        assert answer.topics[0].recovered is True

    tell(tale)


def test_a_pattern_has_a_start_of_its_own_for_topics_that_are_not_named(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(*["host:a"] * 3, *["host:b"] * 3)
        client, _ = story.subscribe("host:*", after={"host:a": 2, "host:*": 1})
        assert (client.heard("host:a"), client.heard("host:b")) == ([3], [2, 3])
        client, _ = story.subscribe("host:*", after={"other": 2})
        assert client.messages == []

    tell(tale)


def test_a_topic_and_a_pattern_over_it_bring_each_message_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish("host:a", "host:b", "host:a")
        for topics in (("host:a", "host:*", "*"), ("*", "host:a")):
            client, _ = story.subscribe(*topics, after="beginning")
            story.publish("host:a")
            heard = client.heard("host:a")
            assert heard == list(range(1, len(heard) + 1))
            assert client.heard("host:b") == [1]

    tell(tale)


# While others publish


@pytest.mark.parametrize("after", [None, 0, 2, "beginning", "consumed"])
@pytest.mark.parametrize("topics", [("news",), ("n*",), ("n*", "news")])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_published_during_any_read_comes_once_and_in_order(
    tell: Tell, after: Any, topics: tuple[str, ...], moment: str
) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        story.news(4)
        rounds = [3]

        def publish() -> None:
            if rounds[0] > 0:
                rounds[0] -= 1
                story.news(2)

        setattr(story.readers, moment, publish)
        client, answer = story.subscribe(*topics, after=after)
        setattr(story.readers, moment, lambda: None)
        story.news(1)
        last = story.readers.read(lambda reader: reader.position("news")).sequence
        heard = client.heard()
        begin = answer.topics[0].sequence if after is None else (after if after == 2 else 0)
        assert heard == list(range(begin + 1, last + 1))
        total = answer.topics[0].replayed
        assert client.replayed() == heard[:total]

    tell(tale)


def test_a_hold_that_overflows_is_read_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(3)
        for after in (None, "beginning"):
            story.readers.after = once(lambda: story.news(9))
            client, answer = story.subscribe("news", after=after)
            story.news(1)
            heard = client.heard()
            begin = answer.topics[0].sequence if after is None else 0
            last = story.readers.read(lambda reader: reader.position("news")).sequence
            assert heard == list(range(begin + 1, last + 1))
            check(client, answer)

    with patch.object(hub_module, "MAX_HELD", 4):
        tell(tale)


def test_a_hold_that_overflows_near_the_end_of_a_replay_is_read_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(3)
        client = story.client()
        overflow = once(lambda: story.news(9))
        story.readers.after = lambda: overflow() if client.events else None
        _, answer = story.subscribe("news", client=client, after="beginning")
        story.news(1)
        assert client.heard() == list(range(1, 14))
        check(client, answer)

    with patch.object(hub_module, "MAX_HELD", 4):
        tell(tale)


def test_who_can_never_be_joined_is_told_and_not_subscribed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.readers.after = lambda: story.news(5)
        with pytest.raises(Unavailable, match="Too much is published"):
            story.subscribe("news")
        assert story.hub.subscriptions() == []

    with patch.object(hub_module, "MAX_HELD", 4):
        tell(tale)


def test_who_is_live_by_a_pattern_misses_nothing_while_it_joins_a_topic(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("n*")
        story.news(1)
        story.readers.before = once(lambda: story.news(2))
        story.subscribe("news", client=client)
        story.news(1)
        assert client.heard() == [1, 2, 3, 4]
        story.readers.before = once(lambda: story.news(2))
        story.subscribe("*", client=client)
        story.news(1)
        assert client.heard() == [1, 2, 3, 4, 5, 6, 7]

    tell(tale)


def test_subscribing_again_with_after_replays_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("news")
        story.news(3)
        _, answer = story.subscribe("news", client=client, after=1)
        story.news(1)
        assert client.heard() == [1, 2, 3, 2, 3, 4]
        assert client.replayed() == [2, 3]
        assert len(story.hub.subscriptions()) == 1
        assert answer.topics[0].replayed == 2

    tell(tale)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("moment", [0, 1, 2])
@pytest.mark.parametrize("after", [1, 4, "beginning", "consumed"])
@pytest.mark.parametrize("again", ["news", "n*", "*"])
@pytest.mark.parametrize("first", ["news", "n*", "*"])
def test_who_subscribes_again_gets_what_is_published_meanwhile_once(
    tell: Tell, first: str, again: str, after: int | str, moment: int, is_before: bool
) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe(first)
        story.news(4)
        reads: list[int] = []

        def publish() -> None:
            reads.append(1)
            if len(reads) == moment + 1:
                story.news(3)

        setattr(story.readers, "before" if is_before else "after", publish)
        _, answer = story.subscribe(again, client=client, after=after)
        story.readers.before = story.readers.after = lambda: None
        story.news(2)
        last = story.readers.read(lambda reader: reader.position("news")).sequence
        begin = after if isinstance(after, int) else 0
        assert client.heard() == [1, 2, 3, 4, *range(begin + 1, last + 1)]
        assert len(client.replayed()) == answer.topics[0].replayed
        assert client.closed_as is None

    tell(tale)


def test_what_is_published_while_the_interest_is_stored_comes_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("news")
        story.news(2)
        write, publish = story.journal.write, once(lambda: story.news(2))

        def write_behind_others(**more: Any) -> Any:
            publish()
            return write(**more)

        with patch.object(story.journal, "write", write_behind_others):
            story.subscribe("n*", client=client, after=1)
        assert client.heard() == [1, 2, 2, 3, 4]

    tell(tale)


@pytest.mark.parametrize("again", ["news", "n*"])
def test_who_cannot_subscribe_again_misses_nothing_silently(tell: Tell, again: str) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("news")
        story.readers.after = lambda: story.news(5)
        with pytest.raises(Unavailable):
            story.subscribe(again, client=client, after=0)
        assert client.closed_as == "subscribe failed"

    with patch.object(hub_module, "MAX_HELD", 4):
        tell(tale)


class NarrowClient(Client):
    """Has an outbound budget, as a real connection does."""

    budget = 16_000

    def send(self, broadcast: Broadcast) -> None:
        super().send(broadcast)
        self.backlog += sum(map(len, broadcast.payloads))
        if self.backlog > self.budget:
            self.close("slow")

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        self.backlog = 0
        return self.closed_as is None


@pytest.mark.parametrize("topic", ["news", "n*"])
@pytest.mark.parametrize("after", [None, "beginning", "consumed"])
@pytest.mark.parametrize("moment", [1, 2])
def test_what_was_held_leaves_in_pieces_that_a_reader_can_take(
    tell: Tell, topic: str, after: str | None, moment: int
) -> None:
    def tale(story: Story) -> None:
        story.first_time(topic)
        story.publish("news", "news", size=1_000)
        reads: list[int] = []

        def publish() -> None:
            reads.append(1)
            if len(reads) == moment:
                story.publish(*["news"] * 60, size=1_000)

        client = NarrowClient("narrow")
        story.readers.after = publish
        _, answer = story.subscribe(topic, client=client, after=after)
        story.readers.after = lambda: None
        client.wait_drained(0)
        story.publish("news", size=1_000)
        assert client.closed_as is None
        last = story.readers.read(lambda reader: reader.position("news")).sequence
        assert client.heard() == list(range(last - len(client.heard()) + 1, last + 1))
        assert len(client.heard()) >= (1 if len(reads) < moment else 61)
        assert len(client.replayed()) == answer.topics[0].replayed

    tell(tale, page_bytes=4_000)


class ThrottledClient(Client):
    """Takes a little at a time, all the time, by the rules that real connections have.

    Of what waits it has taken a kilobyte whenever it is looked at again.
    """

    budget = 16_000

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.backlog = 0
        self.waits = 0
        self.on_wait: Callable[[], None] = lambda: None

    def send(self, broadcast: Broadcast) -> None:
        super().send(broadcast)
        is_first = not self.backlog
        self.backlog += sum(map(len, broadcast.payloads))
        if self.backlog > self.budget and not is_first:
            self.close("slow")

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        while self.closed_as is None and not has_room(self.backlog, size, self.budget):
            self.waits += 1
            self.backlog = max(0, self.backlog - 1_000)
            self.on_wait()
            if self.waits % 5 == 0:
                return False  # the time is over, and it has taken something
        return self.closed_as is None


LONG = "n" * 200


@pytest.mark.parametrize("after", ["beginning", "consumed"])
@pytest.mark.parametrize(
    ("topic", "size", "count"), [("news", 1_000, 40), ("news", 15_000, 10), (LONG, 1, 60)]
)
def test_a_replay_does_not_outrun_who_reads_all_the_time(
    tell: Tell, after: str, topic: str, size: int, count: int
) -> None:
    def tale(story: Story) -> None:
        story.first_time(topic)
        story.publish(*[topic] * count, size=size)
        client = ThrottledClient("throttled")
        left = [topic] * count

        def publish() -> None:
            if left:
                story.publish(left.pop(), size=size)

        client.on_wait = publish
        _, answer = story.subscribe(topic, client=client, after=after)
        assert client.closed_as is None
        assert client.waits > count / 4
        check(client, answer, topic)
        sent = 2 * count - len(left)
        assert client.heard(topic) == list(range(1, sent + 1))
        client.backlog = 0
        story.publish(topic, size=size)
        assert client.heard(topic)[-1] == sent + 1

    tell(tale, page_bytes=4_000)


@pytest.mark.parametrize(("size", "topic"), [(3_000, "news"), (15_000, "news"), (1, LONG)])
def test_what_was_held_does_not_outrun_who_reads_all_the_time(
    tell: Tell, topic: str, size: int
) -> None:
    def tale(story: Story) -> None:
        client = ThrottledClient("throttled")
        left = [topic] * 40

        def publish() -> None:
            if left:
                story.publish(left.pop(), size=size)

        story.readers.after = once(lambda: story.publish(*[topic] * 20, size=size))
        client.on_wait = publish
        story.subscribe(topic, client=client)
        assert client.closed_as is None
        assert client.heard(topic) == list(range(1, 61 - len(left)))
        client.backlog = 0
        story.publish(topic, size=size)
        assert client.heard(topic)[-1] == 61 - len(left)

    tell(tale, page_bytes=4_000)


def test_of_large_messages_only_a_few_are_read_for_a_page(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        story.publish(*["news"] * 100, size=2_000)
        asked: list[int] = []
        log, unconsumed = SQLiteReader.log, SQLiteReader.unconsumed

        def count_log(reader: Any, topic: str, after: int, limit: int, max_bytes: int) -> Page:
            asked.append(limit)
            return log(reader, topic, after, limit, max_bytes)

        def count_unconsumed(reader: Any, *args: Any) -> Page:
            asked.append(args[-2])
            return unconsumed(reader, *args)

        with (
            patch.object(SQLiteReader, "log", count_log),
            patch.object(SQLiteReader, "unconsumed", count_unconsumed),
        ):
            for after in ("beginning", "consumed"):
                asked.clear()
                client, answer = story.subscribe("news", client=story.client(), after=after)
                check(client, answer)
                assert client.heard() == list(range(1, 101))
                assert max(asked) == asked[0] <= 50
                assert sum(asked) < 50 + 5 * 100

    tell(tale, page_bytes=5_000)


@pytest.mark.parametrize("after", ["beginning", "consumed"])
def test_who_leaves_a_topic_in_the_middle_of_its_replay_gets_the_others(
    tell: Tell, after: str
) -> None:
    def tale(story: Story) -> None:
        story.first_time("news", "other")
        story.publish(*["news", "other"] * 20, size=1_000)
        client = story.client()

        def leave() -> bool:
            if client.messages:
                story.subscribing.unsubscribe(client, ["news"])
            return True

        client.on_drain = leave
        story.subscribe("news", "other", client=client, after=after)
        story.publish("news", "other")
        assert 0 < len(client.heard()) < 20
        assert client.heard("other") == list(range(1, 22))
        subscriber = story.hub.subscriber(client.connection_id)
        assert subscriber is not None
        assert not subscriber.behind

    tell(tale, page_bytes=4_000)


@pytest.mark.parametrize("wanted", ["news", "n*"])
def test_what_was_trimmed_unconfirmed_is_told_until_it_has_surely_arrived(
    tell: Tell, wanted: str
) -> None:
    def tale(story: Story) -> None:
        def resume() -> bool:
            client, answer = story.subscribe(wanted, after="consumed")
            story.subscribing.disconnect(client)
            return answer.topics[0].recovered

        story.first_time(wanted)
        story.news(6)
        story.consume(1)
        story.trim(5)
        assert resume()
        story.trim(4)
        assert [resume(), resume()] == [False, False]  # who knows whether it arrived
        story.consume(4)
        assert resume()
        story.trim(0)
        assert not resume()

    tell(tale)


def test_what_is_trimmed_while_unconfirmed_messages_are_replayed_is_not_skipped(
    tell: Tell,
) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        story.publish(*["news"] * 20, size=1_000)
        client = story.client()

        def trim() -> bool:
            if client.messages:
                story.trim(2)
            return True

        client.on_drain = trim
        with pytest.raises(Unavailable, match="trimmed"):
            story.subscribe("news", client=client, after="consumed")
        assert client.closed_as == "replay failed"
        _, answer = story.subscribe("news", after="consumed")
        assert (answer.topics[0].replayed, answer.topics[0].recovered) == (2, False)

    tell(tale, page_bytes=4_000)


# Connections that end or do not read


def test_who_leaves_in_the_middle_of_a_replay_leaves_nothing_behind(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(*["news"] * 20, size=1_000)
        client = story.client()
        drains: list[int] = []

        def leave() -> bool:
            drains.append(1)
            if len(drains) == 3:
                story.subscribing.disconnect(client)
            return True

        client.on_drain = leave
        story.subscribe("news", client=client, after="beginning")
        sent = len(client.messages)
        assert 0 < sent < 20
        story.news(2)
        assert len(client.messages) == sent
        assert story.hub.subscriptions() == []
        assert story.hub.subscriber(client.connection_id) is None
        assert story.deliveries.here() is None

    tell(tale, page_bytes=4_000)


def test_who_leaves_before_it_is_joined_leaves_nothing_behind(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client = story.client()
        story.readers.after = once(lambda: story.subscribing.disconnect(client) and None)
        story.subscribe("news", client=client)
        assert story.hub.subscriptions() == []
        assert story.deliveries.here() is None
        story.news(1)
        assert client.messages == []
        assert story.sent_to(1) == []

    tell(tale)


def test_nobody_is_told_that_somebody_joins_who_has_left(tell: Tell) -> None:
    def tale(story: Story) -> list[str]:
        told: list[str] = []
        story.subscribing.on_join = lambda consumer, topics, at: told.append(f"{consumer} joined")
        story.subscribing.on_leave = lambda consumer, topics, at: told.append(f"{consumer} left")
        client = story.client()
        story.readers.after = once(lambda: story.subscribing.disconnect(client) and None)
        story.subscribe("news", client=client)
        story.subscribe("news", consumer="dora")
        return told

    assert tell(tale) == ["carl left", "dora joined"]


@pytest.mark.parametrize("after", ["beginning", "consumed"])
def test_who_never_reads_is_closed_as_slow(tell: Tell, after: str) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        story.publish(*["news"] * 20, size=1_000)
        client = story.client()
        client.on_drain = lambda: len(client.messages) < 5
        story.subscribe("news", client=client, after=after)
        assert client.closed_as == "slow"
        assert 5 <= len(client.messages) < 20

    tell(tale, page_bytes=4_000)


@pytest.mark.parametrize("after", ["beginning", "consumed"])
def test_a_replay_that_cannot_be_read_on_ends_the_connection(tell: Tell, after: str) -> None:
    def tale(story: Story) -> None:
        story.first_time("news")
        story.publish(*["news"] * 20, size=1_000)
        client = story.client()

        def fail() -> None:
            if len(client.messages) > 5:
                raise Unavailable("The database cannot be read")

        story.readers.before = fail
        with pytest.raises(Unavailable):
            story.subscribe("news", client=client, after=after)
        assert client.closed_as == "replay failed"

    tell(tale, page_bytes=4_000)


def test_a_subscribe_that_cannot_be_read_at_all_changes_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("old")

        def fail() -> None:
            raise Unavailable("The database cannot be read")

        story.readers.before = fail
        with pytest.raises(Unavailable):
            story.subscribe("news", "n*", client=client, after="beginning")
        story.readers.before = lambda: None
        assert client.closed_as is None
        assert [each.topic for each in story.hub.subscriptions()] == ["old"]
        story.publish("old", "news")
        assert [each["topic"] for each in client.messages] == ["old"]
        story.subscribe("news", client=client, after="beginning")
        assert client.heard() == [1]

    tell(tale)


# Names and bounds


def test_a_name_is_kept_until_another_one_is_given(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client = story.client()
        with pytest.raises(Invalid, match="consumer"):
            story.subscribing.subscribe(ANN, client, parse_subscribe(b'{"topics":["a"]}'))
        anonymous = story.subscribing.subscribe(ANN, client, parse_subscribe(b'"a"'))
        assert anonymous.consumer == "anonymous-client-1"
        for after in (b'"consumed"', b'{"b":"consumed"}'):
            with pytest.raises(Invalid, match="needs a `consumer`"):
                body = b'{"channel":"b","after":%b}' % after
                story.subscribing.subscribe(ANN, client, parse_subscribe(body))
        story.subscribe("b", client=client, consumer="dora")
        again = story.subscribing.subscribe(ANN, client, parse_subscribe(b'{"topics":["c"]}'))
        assert again.consumer == "dora"

    tell(tale)


def test_a_connection_has_a_bounded_number_of_subscriptions(tell: Tell) -> None:
    def tale(story: Story) -> None:
        names = [f"t{number}" for number in range(MAX_SUBSCRIPTIONS)]
        client, _ = story.subscribe(*names)
        story.subscribe(*names[:10], client=client)
        with pytest.raises(Invalid, match="at most"):
            story.subscribe("one-more", client=client)
        assert len(story.hub.subscriptions()) == MAX_SUBSCRIPTIONS

    tell(tale)


def test_interests_that_are_known_are_not_written_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for consumer in ("ann", "bob", "carl", "ann"):
            story.first_time("news", consumer=consumer)
        assert len(story.subscribing._known) == 2
        story.news(1)
        for consumer in ("ann", "bob", "carl"):
            client, _ = story.subscribe("news", consumer=consumer, after="consumed")
            assert client.heard() == [1]

    with patch.object(subscribing_module, "MAX_KNOWN_INTERESTS", 2):
        tell(tale)


def test_unsubscribing_ends_what_there_was(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("a", "b", "c*")
        leave = story.subscribing.unsubscribe
        assert leave(client, ["a", "never"]) == ["a"]
        story.publish("a", "b", "cc")
        assert [each["topic"] for each in client.messages] == ["b", "cc"]
        assert leave(client, None) == ["b", "c*"]
        assert leave(story.client(), None) == []
        story.publish("b", "cc")
        assert len(client.messages) == 2
        assert story.sent_to(1, "b") == ["carl"]
        assert story.sent_to(2, "b") == []

    tell(tale)


# The ledger


def test_the_ledger_has_what_was_replayed_and_what_was_live(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.news(3)
        client, _ = story.subscribe("news", after=1)
        story.news(1)
        story.subscribing.disconnect(client)
        story.news(1)
        assert [story.sent_to(n) for n in range(1, 6)] == [[], ["carl"], ["carl"], ["carl"], []]
        assert [story.verdict(n) for n in (1, 2, 5)] == [
            "not_subscribed", "delivered", "not_subscribed"
        ]  # fmt: skip
        assert story.ledger(2).pending == ["carl"]

    tell(tale)


def test_the_ledger_knows_who_was_too_slow(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.subscribe("news")
        story.news(1)
        client.stalled_at = story.clock.now() + 0.000_001
        story.runtime.sleep(0)
        while story.clock.now() <= client.stalled_at:
            pass
        story.news(1)
        story.subscribing.disconnect(client)
        assert [story.verdict(n) for n in (1, 2)] == ["delivered", "slow"]

    tell(tale)


def test_what_came_in_the_middle_of_a_replay_that_broke_off_was_not_sent(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(*["news"] * 20, size=1_000)
        client = story.client()

        def leave() -> bool:
            if len(client.messages) > 5:
                story.news(1)
                story.subscribing.disconnect(client)
            return True

        client.on_drain = leave
        story.subscribe("news", client=client, after="beginning")
        assert 21 not in client.heard()
        assert story.sent_to(21) == []

    tell(tale, page_bytes=4_000)
