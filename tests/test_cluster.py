from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from connections import Someone
from loops import PATIENCE, run_on_loop, until
from python_pubsub_server import cluster as cluster_module
from python_pubsub_server.bus.bus import Bus, BusFailed, Card, open_bus
from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.cluster import Cluster, Measured
from python_pubsub_server.hub import Hub
from python_pubsub_server.runtime import Runtime
from redis_server import RedisServer


class Member:
    """A node as the others see it."""

    def __init__(self, runtime: Runtime, name: str, bus: Bus) -> None:
        self.runtime = runtime
        self.name = name
        self.bus = bus
        self.hub = Hub()
        self.measured = Measured(connections=3, messages=0, is_draining=False)
        self.cluster = Cluster(
            name,
            "log",
            runtime,
            bus,
            self.hub,
            lambda: self.measured,
            lambda: 1000.0,
            place=f"place of {name}",
        )
        bus.start(lambda *_: None, lambda: None)

    def listen(self, who: str, *topics: str, at: float = 1.0, is_named: bool = True) -> None:
        subscriber = self.hub.add(Someone(f"{who}@{self.name}"))
        subscriber.consumer, subscriber.is_named = who, is_named
        for topic in topics:
            self.hub.join(subscriber, topic, at)

    def until(self, condition: Callable[[], Any]) -> None:
        until(self.runtime, condition)

    def shown(self) -> list[tuple[str, str]]:
        return [(each.consumer, each.topic) for each in self.cluster.subscriptions()]

    def close(self) -> None:
        self.cluster.close(PATIENCE)
        self.bus.close(PATIENCE)


def on_loop(tale: Callable[[Runtime], Any]) -> Any:
    with (
        patch.object(cluster_module, "BEAT_SECONDS", 0.2),
        patch.object(cluster_module, "PAUSE_SECONDS", 0.01),
    ):
        return run_on_loop("eventlet", tale)


def test_a_node_that_is_alone_is_the_cluster() -> None:
    def tale(runtime: Runtime) -> None:
        one = Member(runtime, "one", LocalBus())
        one.listen("ann", "a", at=1.0)
        one.listen("bob", "a*", at=2.0)
        assert one.shown() == [("bob", "a*"), ("ann", "a")]
        assert one.cluster.count("a") == 2
        one.until(lambda: one.cluster.nodes()[0].memory_mb > 1)
        (node,) = one.cluster.nodes()
        assert (node.node_id, node.status, node.connections) == ("one", "up", 3)
        assert (node.subscriptions, node.started_at, node.last_seen) == (2, 1000.0, 1000.0)
        status = one.cluster.status(topics=7)
        assert (status.status, status.nodes_total, status.nodes_up) == ("healthy", 1, 1)
        assert (status.connections, status.subscriptions, status.topics) == (3, 2, 7)
        one.measured = Measured(3, 0, is_draining=True)
        assert one.cluster.nodes()[0].status == "draining"
        assert one.cluster.status(topics=7).nodes_up == 0
        one.close()

    on_loop(tale)


def test_nodes_see_each_other_come_change_and_go(tmp_path: Path) -> None:
    def tale(runtime: Runtime) -> None:
        def member(name: str) -> Member:
            return Member(
                runtime,
                name,
                open_bus(server.url, log_id="log", node_id=name, runtime=runtime),
            )

        one, two = member("one"), member("two")
        one.listen("ann", "a", at=3.0)
        two.listen("bob", "a*", at=2.0)
        two.listen("ghost", "a", at=1.0, is_named=False)
        for each in (one, two):
            each.until(lambda e=each: len(e.shown()) == 3)
            assert each.shown() == [("ann", "a"), ("bob", "a*"), ("ghost", "a")]
            assert each.cluster.count("a") == 3
            assert [node.node_id for node in each.cluster.nodes()] == ["one", "two"]
        assert one.cluster.elsewhere.names("a") == {"bob"}
        assert two.cluster.elsewhere.names("a") == {"ann"}
        assert one.cluster.status(0).connections == 6
        one.hub.disconnect("ann@one")
        two.until(lambda: len(two.shown()) == 2)
        one.close()
        two.until(lambda: len(two.cluster.nodes()) == 1)
        two.close()

    with RedisServer(tmp_path) as server:
        on_loop(tale)


class Scripted(LocalBus):
    """A bus whose cards are given by the test."""

    is_shared = True

    def __init__(self, cards: Sequence[Card] | None) -> None:
        super().__init__()
        self.cards = cards
        self.exchanges = 0

    def exchange(self, card: Card) -> Sequence[Card]:
        self.exchanges += 1
        if self.cards is None:
            raise BusFailed("away")
        return self.cards


def facts(**changes: Any) -> bytes:
    import msgspec

    own = {
        "node_id": "two",
        "host": "h",
        "pid": 1,
        "status": "up",
        "started_at": 1.0,
        "last_seen": 2.0,
        "connections": 1,
        "subscriptions": 1,
        "messages_per_second": 0.0,
        "deliveries_per_second": 0.0,
        "cpu_percent": 0.0,
        "memory_mb": 1.0,
    }
    return msgspec.json.encode(own | changes)


def test_nodes_show_where_they_run() -> None:
    def tale(runtime: Runtime) -> None:
        cards = [
            Card("two", facts(), "1", b'{"place":"h:2"}'),
            Card("old", facts(node_id="old"), "1", b"{}"),  # of a version that does not say it
        ]
        one = Member(runtime, "one", Scripted(cards))
        one.until(lambda: len(one.cluster.nodes()) == 3)
        assert one.cluster.places() == {"one": "place of one", "two": "h:2", "old": "h"}
        assert b'"place":"place of one"' in one.cluster._shown
        one.close()

    on_loop(tale)


def test_without_the_bus_the_others_are_forgotten_after_a_while() -> None:
    def tale(runtime: Runtime) -> None:
        bus = Scripted([Card("two", facts(), "1", b'{"listening":[["c","bob","a",1.0,true]]}')])
        one = Member(runtime, "one", bus)
        one.until(lambda: one.shown() == [("bob", "a")])
        bus.cards = None
        one.until(lambda: one.shown() == [])
        assert [node.node_id for node in one.cluster.nodes()] == ["one"]
        bus.cards = [Card("two", facts(), "1", b'{"listening":[["c","bob","a",1.0,true]]}')]
        one.until(lambda: one.shown() == [("bob", "a")])
        one.close()

    with patch.object(cluster_module, "FORGET_SECONDS", 0.3):
        on_loop(tale)


class Held(Scripted):
    """A bus that answers only as often as it is let, as for a node that stands still meanwhile."""

    def __init__(self, cards: Sequence[Card]) -> None:
        super().__init__(cards)
        self.permits = threading.Semaphore(0)
        self.asked_at: list[float] = []

    def exchange(self, card: Card) -> Sequence[Card]:
        self.asked_at.append(time.monotonic())
        assert self.permits.acquire(timeout=PATIENCE)
        return super().exchange(card)


def test_an_answer_that_was_long_under_way_is_not_of_now() -> None:
    def tale(runtime: Runtime) -> None:
        bus = Held([Card("two", facts(), "1", b"{}")])
        one = Member(runtime, "one", bus)
        assert not one.cluster.is_current  # it has not asked who is there
        bus.permits.release()
        one.until(lambda: len(one.cluster.nodes()) == 2)
        one.until(lambda: len(bus.asked_at) == 2 and time.monotonic() - bus.asked_at[1] > 0.1)
        bus.cards = []
        bus.permits.release()
        one.until(lambda: len(one.cluster.nodes()) == 1)
        assert not one.cluster.is_current
        bus.permits.release(1_000)
        one.until(lambda: one.cluster.is_current)
        one.close()

    with patch.object(cluster_module, "CURRENT_SECONDS", 0.1):
        on_loop(tale)


@pytest.mark.parametrize("card", [Card("x", b"{}", "1", b"{}"), Card("x", facts(), "1", b"[1]")])
def test_a_card_that_cannot_be_read_is_passed_over(
    card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(runtime: Runtime) -> None:
        one = Member(runtime, "one", Scripted([card, Card("two", facts(), "1", b"{}")]))
        one.until(lambda: len(one.cluster.nodes()) == 2)
        one.close()

    with caplog.at_level(logging.WARNING):
        on_loop(tale)
    assert {record.msg for record in caplog.records} == {"card_not_understood"}


def test_what_a_node_shows_is_bounded() -> None:
    def tale(runtime: Runtime) -> None:
        bus = Scripted([])
        one = Member(runtime, "one", bus)
        one.listen("ann", *(f"t{n}" for n in range(50)))
        one.until(lambda: one.cluster._shown.count(b"ann@one") == 20)
        one.close()

    with patch.object(cluster_module, "MAX_SHOWN", 20):
        on_loop(tale)
