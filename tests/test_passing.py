from __future__ import annotations

import json
from typing import Any

from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.hub import Hub
from python_pubsub_server.passing import Passing
from python_pubsub_server.transport.connection import Broadcast


class Listener:
    address = "127.0.0.1"

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        self.events: list[tuple[str, Any]] = []

    def send(self, broadcast: Broadcast) -> None:
        self.events += [(broadcast.event, json.loads(each)) for each in broadcast.payloads]


def test_what_programs_say_reaches_the_topics_subscribers_once() -> None:
    bus, hub = LocalBus(), Hub()
    Passing(bus, hub)
    ann, all_of_them, other = Listener("1"), Listener("2"), Listener("3")
    for listener, topics in (
        (ann, ("notifications:ann",)),
        (all_of_them, ("notifications:*", "*", "suggestions:votes", "notifications:ann")),
        (other, ("notifications:annabel", "orders")),
    ):
        for topic in topics:
            hub.join(hub.add(listener), topic, 0.0)  # type: ignore[arg-type]
    for channel, payload in (
        ("notifications:ann", b'{"title": "x"}'),
        ("suggestions:votes", b"1"),
        ("resource:updates:7", b"no JSON \xff"),
        ("orders", b"1"),
        ("notifications", b"1"),
    ):
        bus.publish(channel, payload)
    assert ann.events == [("notification", {"title": "x"})]
    assert all_of_them.events == [
        ("notification", {"title": "x"}),
        ("suggestion:vote", 1),
        ("resource:update", "no JSON �"),
    ]
    assert other.events == []
