from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from connections import Someone
from loops import BACKENDS, PATIENCE, tell_story, until
from python_pubsub_server import logs
from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.clock import LogClock
from python_pubsub_server.errors import Unavailable
from python_pubsub_server.hub import Hub
from python_pubsub_server.model import Claim, Message
from python_pubsub_server.monitoring import (
    ALARM_BURST,
    BURST,
    EVENTS_PER_SECOND,
    MAX_CONTENT_BYTES,
    Monitoring,
)
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import Batch, Committed
from python_pubsub_server.transport.connection import Broadcast

NOW = 1_800_000_000.0


class Watcher(Someone):
    """A dashboard's connection that keeps what it is sent."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__("watcher")
        self.events: list[tuple[str, Any]] = []
        self.has_stats = runtime.event()

    def send(self, broadcast: Broadcast) -> None:
        self.events += [(broadcast.event, json.loads(each)) for each in broadcast.payloads]
        if broadcast.event == "stats":
            self.has_stats.set()

    def close(self, reason: str) -> None:
        raise AssertionError("nobody closes this")

    def named(self, name: str) -> list[Any]:
        return [argument for event, argument in self.events if event == name]


class Census:
    """The server's other numbers."""

    is_broken = False

    def connections(self) -> int:
        return 7

    def topics(self) -> int:
        if self.is_broken:
            raise Unavailable("no disk")
        return 4


class Story:
    """A node's monitoring with a clock that a test turns, and one dashboard."""

    def __init__(self, runtime: Runtime, bus: Any = None, name: str = "node") -> None:
        self.now = NOW
        self.hub = Hub()
        self.census = Census()
        clock = LogClock(wall=lambda: self.now, steady=lambda: self.now)
        self.monitoring = Monitoring(
            runtime, clock, self.hub, self.census, bus or LocalBus(), "log", name, 0.01
        )
        self.watcher = Watcher(runtime)
        self.runtime = runtime

    def commit(self, *numbers: int, claims: int = 0, text: str = "1") -> None:
        fresh = [Message("t", str(n), Raw(text.encode()), "p", self.now, n) for n in numbers]
        told = [Claim("c", "t", str(number)) for number in range(claims)]
        arrived = [self.now - 0.002] * len(fresh)
        batch = Batch(self.now, [], [], arrived, told)
        self.monitoring.delivered(batch, Committed([], [1] * claims), fresh)

    def stats(self) -> Any:
        """The next `stats`."""
        self.watcher.has_stats.clear()
        assert self.watcher.has_stats.wait(PATIENCE)
        return self.watcher.named("stats")[-1]

    def close(self) -> None:
        self.monitoring.close()


def tell(backend: str, story: Callable[[Story], Any]) -> Any:
    return tell_story(Story, story, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dashboard_sees_messages_and_consumptions(backend: str) -> None:
    def story(s: Story) -> None:
        s.commit(1)  # before it watched
        s.monitoring.watch(s.watcher)
        s.commit(2, claims=1)
        ((_, message), (_, consumption)) = s.watcher.events
        assert (message["topic"], message["sequence"], message["message"]) == ("t", 2, 1)
        assert consumption == {
            "consumer": "c",
            "topic": "t",
            "message_id": "0",
            "sequence": None,
            "recorded": 1,
            "timestamp": NOW,
        }
        s.monitoring.leave("watcher")
        s.commit(3)
        assert len(s.watcher.events) == 2

    tell(backend, story)


def test_subscriptions_come_and_go() -> None:
    def story(s: Story) -> None:
        s.monitoring.watch(s.watcher)
        s.monitoring.joined("c", ["a", "b*"], NOW)
        s.monitoring.left("c", ["a"], NOW + 1)
        assert s.watcher.events == [
            ("new_client", {"consumer": "c", "topic": "a", "connected_at": NOW}),
            ("new_client", {"consumer": "c", "topic": "b*", "connected_at": NOW}),
            ("client_disconnected", {"consumer": "c", "topic": "a", "timestamp": NOW + 1}),
        ]

    tell("eventlet", story)


def test_under_load_events_are_sampled_evenly_and_the_rest_is_counted() -> None:
    def story(s: Story) -> None:
        s.monitoring.watch(s.watcher)
        s.commit(*range(1_000))
        shown = [message["sequence"] for message in s.watcher.named("new_message")]
        assert shown == list(range(0, 1_000, 1_000 // BURST))
        for _ in range(100):
            s.now += 0.01
            s.commit(*range(100))
        shown = s.watcher.named("new_message")
        assert len(shown) <= 200
        assert len(shown) >= EVENTS_PER_SECOND
        assert s.stats()["dropped"] == 11_000 - len(shown)
        assert s.stats()["dropped"] == 0

    tell("eventlet", story)


def test_stats_are_what_happened_in_between() -> None:
    def story(s: Story) -> None:
        s.monitoring.watch(s.watcher)
        s.hub.join(s.hub.add(s.watcher), "elsewhere", NOW)
        s.stats()
        s.now += 2
        s.commit(1, 2, claims=1)
        s.hub.deliveries += 6
        stats = s.stats()
        assert stats == {
            "timestamp": NOW + 2,
            "publishes_per_second": 1.0,
            "deliveries_per_second": 3.0,
            "consumptions_per_second": 0.5,
            "connections": 7,
            "subscriptions": 1,
            "topics": 4,
            "commit_ms": pytest.approx(2, abs=0.01),
            "commit_ms_max": pytest.approx(2, abs=0.01),
            "dropped": 0,
        }
        assert s.stats()["commit_ms"] is None
        s.census.is_broken = True
        assert s.stats()["topics"] == 4

    tell("eventlet", story)


def test_what_is_too_long_for_a_dashboard_is_only_measured() -> None:
    def story(s: Story) -> None:
        s.monitoring.watch(s.watcher)
        s.commit(1, text="1" * (MAX_CONTENT_BYTES + 1))
        (message,) = s.watcher.named("new_message")
        assert "message" not in message
        assert message["message_bytes"] == MAX_CONTENT_BYTES + 1

    tell("eventlet", story)


def test_messages_are_counted_for_the_heat_map_though_nobody_watches() -> None:
    def story(s: Story) -> None:
        s.commit(1, 2)
        report = s.monitoring.activity.report("minute", NOW, 10)
        assert [(each.topic, each.counts[-1]) for each in report.topics] == [("t", 2)]

    tell("eventlet", story)


@pytest.mark.parametrize("backend", BACKENDS)
def test_warnings_and_errors_are_told_and_the_last_ones_first(backend: str) -> None:
    def story(s: Story) -> None:
        logs.event(logging.WARNING, "before_it_watched", number=1)
        until(s.runtime, lambda: s.monitoring._alarms.recent)
        s.monitoring.watch(s.watcher)
        s.monitoring.watch(s.watcher)
        (first,) = s.watcher.named("server_error")
        assert (first["level"], first["event"], first["text"]) == (
            "warning",
            "before_it_watched",
            "number=1",
        )
        for number in range(ALARM_BURST + 10):
            logs.event(logging.ERROR, "broken", number=number)
        assert s.stats()["dropped"] == 10
        assert len(s.watcher.named("server_error")) == 1 + ALARM_BURST
        s.now += 60
        logs.event(logging.ERROR, "broken", number=99)
        s.stats()
        assert s.watcher.named("server_error")[-1]["text"] == "number=99"

    tell(backend, story)
