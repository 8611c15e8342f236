from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from msgspec import Raw

from loops import PATIENCE, tell_story, until
from python_pubsub_server.bus import redis_ear, redis_ingress, redis_link, redis_registry
from python_pubsub_server.bus.bus import Bus, BusFailed, Card, Verdict, open_bus
from python_pubsub_server.bus.frames import MAX_INLINE_BYTES
from python_pubsub_server.model import Message
from python_pubsub_server.runtime import NativeThreads, Runtime
from redis_server import Proxy, RedisServer


def message(sequence: int, size: int = 2) -> Message:
    return Message("news", f"m{sequence}", Raw(b'"' + b"x" * size + b'"'), "ann", 1.5, sequence)


class Ears:
    """A node's bus, and what it has heard."""

    def __init__(self, runtime: Runtime, url: str, name: str, log_id: str = "log") -> None:
        self.bus: Bus = open_bus(url, log_id=log_id, node_id=name, runtime=runtime)
        self.heard: list[tuple[int, int, list[Message] | None]] = []
        self.on_channel: list[tuple[str, bytes]] = []
        self._runtime = runtime
        self._news = runtime.event()
        self.bus.on_channel("votes:*", self._hear_channel)

    def start(self) -> Ears:
        self.bus.start(self._hear, self._news.set)
        return self

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until it has heard enough, or its failure has changed."""
        for _ in range(int(PATIENCE / 0.05)):
            if condition():
                return
            self._news.clear()
            if not condition():
                self._news.wait(0.05)  # not every failure that follows another one is news
        raise AssertionError((self.heard, self.bus.failure))

    def _hear(self, first: int, last: int, messages: Any) -> None:
        self.heard.append((first, last, messages))
        self._news.set()

    def _hear_channel(self, channel: str, payload: bytes) -> None:
        self.on_channel.append((channel, payload))
        self._news.set()


class Story:
    def __init__(self, runtime: Runtime, server: RedisServer) -> None:
        self.runtime = runtime
        self.server = server
        self.nodes: list[Ears] = []
        self.threads: NativeThreads = runtime.native_threads(1, "cards")

    def node(self, name: str, url: str | None = None, log_id: str = "log") -> Ears:
        self.nodes.append(Ears(self.runtime, url or self.server.url, name, log_id))
        return self.nodes[-1].start()

    def exchange(self, node: Ears, name: str, version: str = "1", clients: bytes = b"c") -> Any:
        card = Card(name, b"facts of " + name.encode(), version, clients)
        return {c.node_id: c for c in self.threads.run(node.bus.exchange, card)}

    def close(self) -> None:
        for node in self.nodes:
            node.bus.close(PATIENCE)
        self.threads.close(PATIENCE)


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
def tell(server: RedisServer) -> Iterator[Tell]:
    with (
        patch.object(redis_link, "TIMEOUT_SECONDS", 0.5),
        patch.object(redis_link, "LONGEST_PAUSE", 0.2),
        patch.object(redis_ear, "SILENCE_SECONDS", 1.0),
        patch.object(redis_ear, "PING_SECONDS", 0.3),
    ):
        yield lambda tale: tell_story(lambda runtime: Story(runtime, server), tale)


def test_announcements_reach_the_other_nodes_of_the_log_in_order(tell: Tell) -> None:
    def tale(story: Story) -> None:
        one, two, other = story.node("one"), story.node("two"), story.node("x", log_id="other")
        for n in range(1, 201):
            one.bus.announce(n, n, [message(n)])
        one.bus.announce(201, 300, None)
        two.until(lambda: len(two.heard) == 201)
        assert two.heard == [(n, n, [message(n)]) for n in range(1, 201)] + [(201, 300, None)]
        assert one.heard == other.heard == []

    tell(tale)


def test_what_is_large_is_announced_without_its_messages(tell: Tell) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        one.bus.announce(1, 1, [message(1, MAX_INLINE_BYTES)])
        two.until(lambda: two.heard)
        assert two.heard == [(1, 1, None)]

    tell(tale)


def test_a_channel_reaches_every_node_once_whoever_speaks(tell: Tell) -> None:
    def tale(story: Story) -> None:
        nodes = [story.node("one"), story.node("two")]
        story.server.client.publish("votes:1", b"from outside")
        nodes[0].bus.publish("votes:2", b"from inside")
        for node in nodes:
            node.until(lambda n=node: len(n.on_channel) == 2)
            assert sorted(node.on_channel) == [
                ("votes:1", b"from outside"),
                ("votes:2", b"from inside"),
            ]

    tell(tale)


def test_nonsense_on_the_channel_of_the_log_is_passed_over(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        story.server.client.publish("pubsub:log:log", b"nonsense")
        one.bus.announce(1, 1, None)
        two.until(lambda: two.heard)
        assert two.heard == [(1, 1, None)]

    tell(tale)
    assert "bus_message_not_understood" in [record.msg for record in caplog.records]


def test_a_redis_that_is_restarted_is_missed_and_found_again(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        story.server.kill()
        for node in (one, two):
            node.until(lambda n=node: n.bus.failure is not None)
        one.bus.announce(1, 1, None)  # nobody hears, and nothing is kept for later
        one.bus.publish("votes:1", b"alone")
        assert one.on_channel == [("votes:1", b"alone")]
        story.server.start()
        for node in (one, two):
            node.until(lambda n=node: n.bus.failure is None)
        one.bus.announce(2, 2, None)
        two.until(lambda: two.heard)
        assert two.heard == [(2, 2, None)]

    with caplog.at_level(logging.INFO):
        tell(tale)
    events = [record.msg for record in caplog.records]
    assert events == ["bus_connected"] * 2 + ["bus_lost"] * 2 + ["bus_connected"] * 2


def test_a_node_that_is_cut_off_notices_and_comes_back(tell: Tell) -> None:
    def tale(story: Story) -> None:
        with Proxy(story.server.port) as proxy:
            one, two = story.node("one", proxy.url), story.node("two")
            proxy.cut()
            one.until(lambda: one.bus.failure is not None)
            assert two.bus.failure is None
            proxy.mend()
            one.until(lambda: one.bus.failure is None)
            two.bus.announce(1, 1, None)
            one.until(lambda: one.heard)

    tell(tale)


def test_a_redis_that_hangs_is_noticed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        one = story.node("one")
        story.server.freeze()
        one.until(lambda: one.bus.failure is not None)
        story.server.thaw()
        one.until(lambda: one.bus.failure is None)

    tell(tale)


def test_a_wrong_password_is_said_without_saying_it(
    tell: Tell, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        one = story.node("one", f"redis://:hunter2@127.0.0.1:{server.port}/0")
        one.until(lambda: "invalid username-password" in (one.bus.failure or ""))
        assert "hunter2" not in (one.bus.failure or "")

    server.client.config_set("requirepass", "right")
    tell(tale)
    assert "hunter2" not in caplog.text
    assert [record.msg for record in caplog.records] == ["bus_lost"]


def test_a_redis_without_memory_is_said(tell: Tell, server: RedisServer) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        server.client.config_set("maxmemory", "1")
        with pytest.raises(BusFailed, match=r"^command not allowed when used memory > 'maxmemory'"):
            story.exchange(one, "one")
        one.until(lambda: one.bus.failure is not None)
        assert "maxmemory" in (one.bus.failure or "")
        one.bus.announce(1, 1, None)
        two.until(lambda: two.heard)  # what is said is not kept, so it needs no memory
        server.client.config_set("maxmemory", "0")
        assert story.exchange(one, "one") == {}
        one.until(lambda: one.bus.failure is None)

    tell(tale)


def test_a_node_starts_without_its_redis(tell: Tell, server: RedisServer) -> None:
    def tale(story: Story) -> None:
        one = story.node("one")
        assert one.bus.failure is not None
        server.start()
        one.until(lambda: one.bus.failure is None)

    server.kill()
    tell(tale)


def test_nodes_see_each_others_cards_until_they_are_gone(tell: Tell) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        assert story.exchange(one, "one", clients=b"ann") == {}
        seen = story.exchange(two, "two")
        assert seen == {"one": Card("one", b"facts of one", "1", b"ann")}
        story.exchange(one, "one", version="2", clients=b"bob")
        assert story.exchange(two, "two")["one"].clients == b"bob"
        story.threads.run(one.bus.withdraw, "one")
        assert story.exchange(two, "two") == {}
        story.exchange(one, "one")
        assert 0 < story.server.client.ttl("pubsub:log:node:one") <= redis_registry.CARD_SECONDS
        story.server.client.delete("pubsub:log:node:one")  # as when it expires
        assert story.exchange(two, "two") == {}
        assert story.server.client.smembers("pubsub:log:nodes") == {b"two"}

    tell(tale)


def test_after_redis_was_emptied_the_others_are_believed_to_be_there_for_a_moment(
    tell: Tell,
) -> None:
    def tale(story: Story) -> None:
        one, two = story.node("one"), story.node("two")
        story.exchange(one, "one", clients=b"ann")
        now, registry = 100.0, two.bus._registry  # type: ignore[attr-defined]
        registry._clock = lambda: now
        assert story.exchange(two, "two")["one"].clients == b"ann"
        for version in ("1", "2"):  # whether it has something new to show or not
            story.server.client.flushall()
            assert story.exchange(two, "two", version=version)["one"].clients == b"ann"
            now += 2.0
            assert story.exchange(two, "two", version=version)["one"].clients == b"ann"
            now += redis_registry.BELIEF_SECONDS
            story.exchange(one, "one", clients=b"ann")
            assert story.exchange(two, "two", version=version)["one"].clients == b"ann"
        story.server.client.flushall()
        story.exchange(two, "two")
        now += redis_registry.BELIEF_SECONDS
        assert story.exchange(two, "two") == {}

    tell(tale)


class Publisher:
    """A node that judges entries as the story says."""

    def __init__(self, story: Story, name: str, verdict: Verdict | None) -> None:
        self.ears = Ears(story.runtime, story.server.url, name)
        self.verdict = verdict
        self.taken: list[bytes] = []
        self._story = story
        self.ears.bus.on_entry(self._take)
        self.ears.start()
        story.nodes.append(self.ears)

    def _take(self, fields: Any, judge: Callable[[Verdict, str], None]) -> None:
        self.taken.append(fields[b"n"])
        if self.verdict is not None:
            judge(self.verdict, "because")
        self.ears._news.set()


def add(server: RedisServer, *numbers: int) -> None:
    for number in numbers:
        server.client.xadd(redis_ingress.STREAM, {"n": str(number)})


def test_each_entry_is_taken_by_one_node_and_then_gone(tell: Tell, server: RedisServer) -> None:
    def tale(story: Story) -> None:
        nodes = [Publisher(story, name, Verdict.PUBLISHED) for name in ("one", "two")]
        add(server, *range(10, 60))
        until(story.runtime, lambda: sum(len(node.taken) for node in nodes) >= 55)
        taken = sorted(number for node in nodes for number in node.taken)
        assert taken == sorted(str(n).encode() for n in (*range(5), *range(10, 60)))
        until(story.runtime, lambda: server.client.xlen(redis_ingress.STREAM) == 0)

    add(server, *range(5))  # before anybody was there
    tell(tale)


def test_what_is_refused_is_kept_apart(tell: Tell, server: RedisServer) -> None:
    def tale(story: Story) -> None:
        Publisher(story, "one", Verdict.REFUSED)
        add(server, 1)
        until(story.runtime, lambda: server.client.xlen(redis_ingress.REJECTED))
        ((_, fields),) = server.client.xrange(redis_ingress.REJECTED)
        assert fields == {b"n": b"1", b"reason": b"because"}
        assert server.client.xlen(redis_ingress.STREAM) == 0

    tell(tale)


def test_what_a_node_did_not_finish_is_taken_over(tell: Tell, server: RedisServer) -> None:
    def tale(story: Story) -> None:
        dead = Publisher(story, "dead", None)  # takes it, and is never heard of again
        add(server, 1)
        dead.ears.until(lambda: dead.taken)
        later = Publisher(story, "later", Verdict.LATER)
        later.ears.until(lambda: len(later.taken) >= 2)  # tried again and again
        later.verdict = Verdict.PUBLISHED
        until(story.runtime, lambda: server.client.xlen(redis_ingress.STREAM) == 0)

    with (
        patch.object(redis_ingress, "IDLE_SECONDS", 0.2),
        patch.object(redis_ingress, "CLAIM_SECONDS", 0.1),
    ):
        tell(tale)


def test_a_stream_that_is_something_else_makes_no_node_ill(
    tell: Tell, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        node = Publisher(story, "one", Verdict.PUBLISHED)
        until(
            story.runtime,
            lambda: "ingress_failed" in [record.msg for record in caplog.records],
        )
        assert node.ears.bus.failure is None

    server.client.set(redis_ingress.STREAM, "x")
    tell(tale)


def test_a_redis_that_lacks_a_command_is_said_once_and_asked_ever_less_often(
    tmp_path: Path, tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def pause(failures: int) -> float:
        tries.append(failures)
        return 0.0

    def tale(story: Story) -> None:
        with RedisServer(tmp_path, "--rename-command", "XAUTOCLAIM", "") as old:
            story.server = old
            Publisher(story, "one", Verdict.PUBLISHED)
            while len(tries) < 5:
                story.runtime.sleep(0.01)
            story.close()

    with patch.object(redis_ingress, "pause_after", pause):
        tell(tale)
    assert tries[:5] == [1, 2, 3, 4, 5]
    assert [record.msg for record in caplog.records].count("ingress_failed") == 1
