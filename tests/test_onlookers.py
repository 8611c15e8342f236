from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.onlookers import ATTENTION_SECONDS, BURST, Budget, Onlookers, Stats


class SharedBus(LocalBus):
    """One bus for all nodes of a test, which keeps what was said."""

    is_shared = True

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def publish(self, channel: str, payload: bytes) -> None:
        self.said.append(payload)
        super().publish(channel, payload)


class Node:
    def __init__(self, bus: LocalBus, name: str, clock: Callable[[], float]) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.wanted = 0
        self.onlookers = Onlookers(bus, "log", name, self._want, self._hear, clock)

    def _want(self) -> None:
        self.wanted += 1

    def _hear(self, events: Any) -> None:
        self.heard += [(event, bytes(value).decode()) for event, value in events]


class Story:
    def __init__(self) -> None:
        self.now = 100.0
        self.bus = SharedBus()
        self.one, self.two, self.three = (
            Node(self.bus, name, lambda: self.now) for name in ("one", "two", "three")
        )


def stats(rate: float = 1.0, commit_ms: float | None = None, dropped: int = 0) -> Stats:
    return Stats(5.0, rate, 2.0, 3.0, 4, 5, 6, commit_ms, commit_ms, dropped)


def test_nothing_is_said_while_nobody_watches() -> None:
    story = Story()
    story.one.onlookers.tell([("new_client", {"n": 1})])
    story.one.onlookers.tell_stats(stats())
    assert story.bus.said == []
    assert story.one.onlookers.together(stats()) == stats()


def test_who_watches_hears_of_the_others_until_it_stops() -> None:
    story = Story()
    one, two, three = story.one, story.two, story.three
    one.onlookers.watch()
    assert (one.wanted, two.wanted, three.wanted) == (0, 1, 1)
    assert not one.onlookers.are_there and two.onlookers.are_there
    two.onlookers.tell([("new_client", {"n": 1})])
    assert one.heard == [("new_client", '{"n":1}')]
    assert two.heard == []
    story.now += ATTENTION_SECONDS
    two.onlookers.tell([("new_client", {"n": 2})])
    assert not two.onlookers.are_there
    assert len(one.heard) == 1


def test_a_node_that_is_alone_says_nothing() -> None:
    bus = LocalBus()
    node = Node(bus, "one", lambda: 1.0)
    node.onlookers.watch()
    assert not node.onlookers.are_there
    assert node.onlookers.together(stats()) == stats()


def test_the_rates_of_all_nodes_are_summed_while_they_come() -> None:
    story = Story()
    one, two, three = (each.onlookers for each in (story.one, story.two, story.three))
    one.watch()
    two.tell_stats(stats(3.0, commit_ms=2.0, dropped=9))  # what its own dashboards have missed
    three.tell_stats(stats(2.0))
    assert one.together(stats(1.0, commit_ms=6.0, dropped=1)) == Stats(
        timestamp=5.0,
        publishes_per_second=6.0,
        deliveries_per_second=6.0,
        consumptions_per_second=9.0,
        connections=12,
        subscriptions=15,
        topics=6,
        commit_ms=3.0,
        commit_ms_max=6.0,
        dropped=1,
    )
    story.now += 2.0
    one.watch()
    three.tell_stats(stats(2.0))
    story.now += ATTENTION_SECONDS - 2.0  # two is gone
    assert one.together(stats()).publishes_per_second == 3.0


def test_of_more_than_the_bus_shall_carry_some_are_told_and_the_rest_counted() -> None:
    story = Story()
    story.one.onlookers.watch()
    story.two.onlookers.tell([("new_consumption", n) for n in range(4 * BURST)])
    assert [int(value) for _, value in story.one.heard] == list(range(0, 4 * BURST, 4))
    said = len(story.bus.said)
    story.two.onlookers.tell([("new_consumption", 1)])
    assert len(story.bus.said) == said
    story.two.onlookers.tell_stats(stats())
    assert story.one.onlookers.together(stats()).dropped == 3 * BURST + 1
    assert story.one.onlookers.together(stats()).dropped == 0


def test_what_is_not_understood_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    story = Story()
    story.bus.publish("pubsub:log:monitoring", b"{")
    assert {record.msg for record in caplog.records} == {"monitoring_not_understood"}
    assert story.one.heard == []


def test_what_is_scarce_is_given_several_at_once() -> None:
    budget = Budget(100.0, 50, lump=10)
    assert budget.take(60, 0.0) == 50
    assert budget.take(25, 0.05) == 0
    assert budget.take(25, 0.101) == 10
    assert budget.take(1, 0.105) == 0
    assert budget.take(3, 0.14) == 3
    assert budget.take(1, 0.15) == 1
