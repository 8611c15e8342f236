"""What every bus does for a node, whether others can be there or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loops import PATIENCE, run_on_loop
from python_pubsub_server.bus.bus import Bus, Card, open_bus
from python_pubsub_server.errors import ConfigurationError
from python_pubsub_server.runtime import Runtime
from redis_server import RedisServer


@pytest.fixture(params=["local", "redis"])
def bus_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "local":
        yield None
        return
    with RedisServer(tmp_path) as server:
        yield server.url


Tell = Callable[[Callable[[Runtime, Bus], Any]], Any]


@pytest.fixture
def tell(bus_url: str | None) -> Tell:
    def run(tale: Callable[[Runtime, Bus], Any]) -> Any:
        def live(runtime: Runtime) -> Any:
            bus = open_bus(bus_url, log_id="log", node_id="here", runtime=runtime)
            try:
                return tale(runtime, bus)
            finally:
                bus.close(PATIENCE)

        return run_on_loop("eventlet", live)

    return run


def test_it_works_after_the_start(tell: Tell) -> None:
    def tale(runtime: Runtime, bus: Bus) -> None:
        bus.start(lambda *_: None, lambda: None)
        assert bus.failure is None

    tell(tale)


def test_what_is_published_on_a_channel_is_heard_here_once(tell: Tell) -> None:
    def tale(runtime: Runtime, bus: Bus) -> None:
        heard: list[tuple[str, bytes]] = []
        is_over = runtime.event()
        bus.on_channel("cluster:*", lambda channel, payload: heard.append((channel, payload)))
        bus.on_channel("votes", lambda channel, payload: heard.append((channel, payload)))
        bus.on_channel("end", lambda channel, payload: is_over.set())
        bus.start(lambda *_: None, lambda: None)
        bus.publish("cluster:metrics", b"1")
        bus.publish("votes", b"2")
        bus.publish("votes:other", b"3")
        bus.publish("cluster", b"4")
        bus.publish("end", b"")
        assert is_over.wait(PATIENCE)
        assert heard == [("cluster:metrics", b"1"), ("votes", b"2")]

    tell(tale)


def test_a_node_does_not_hear_its_own_announcements(tell: Tell) -> None:
    def tale(runtime: Runtime, bus: Bus) -> None:
        heard: list[Any] = []
        is_over = runtime.event()
        bus.on_channel("end", lambda channel, payload: is_over.set())
        bus.start(lambda *announced: heard.append(announced), lambda: None)
        bus.announce(1, 2, None)
        bus.publish("end", b"")
        assert is_over.wait(PATIENCE)
        assert heard == []

    tell(tale)


def test_a_node_that_is_alone_sees_no_other_card(tell: Tell) -> None:
    def tale(runtime: Runtime, bus: Bus) -> None:
        bus.start(lambda *_: None, lambda: None)
        threads = runtime.native_threads(1, "cards")
        card = Card("here", b"facts", "1", b"clients")
        assert list(threads.run(bus.exchange, card)) == []
        assert list(threads.run(bus.exchange, card)) == []
        threads.run(bus.withdraw, "here")
        assert threads.close(PATIENCE)

    tell(tale)


def test_closing_twice_or_without_a_start_is_fine(tell: Tell) -> None:
    def tale(runtime: Runtime, bus: Bus) -> None:
        bus.close(PATIENCE)

    tell(tale)


def test_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no bus of the kind 'amqp'"):
        open_bus("amqp://x", log_id="log", node_id="here", runtime=None)  # type: ignore[arg-type]
