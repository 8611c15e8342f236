"""The namespace `/monitoring`, over a real server and real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server import RunningServer
from system.clients import Client, RawClient

START = "42/monitoring,"


@contextmanager
def dashboard(url: str) -> Iterator[RawClient]:
    with RawClient(url, "/monitoring") as client:
        client.send(START + '7["subscribe_to_updates"]')
        assert client.next() == '43/monitoring,7[{"status":"ok"}]'
        yield client


def event(client: RawClient, name: str, topic: str) -> Any:
    """The argument of the next such event of a topic; others are passed over."""
    while True:
        packet = client.next()
        assert packet.startswith(START), packet
        found, argument = json.loads(packet.removeprefix(START))
        if found == name and argument.get("topic", topic) == topic:
            return argument


def test_a_dashboard_sees_what_happens(server: RunningServer) -> None:
    with dashboard(server.url) as watching:
        with Client(server.url) as client:
            client.subscribe("seen", consumer="reader")
            joined = event(watching, "new_client", "seen")
            assert joined["consumer"] == "reader"
            server.publish("seen", {"n": 1}, message_id="m-7")
            message = event(watching, "new_message", "seen")
            assert (message["message"], message["message_id"]) == ({"n": 1}, "m-7")
            assert client.next("message") == message
            claim = {"consumer": "reader", "topic": "seen", "message_id": "m-7"}
            assert client.call("consumed", claim)["recorded"] == 1
            assert event(watching, "new_consumption", "seen")["message_id"] == "m-7"
            client.call("unsubscribe", {"topics": ["seen"]})
            client.next("unsubscribed")
            assert event(watching, "client_disconnected", "seen")["consumer"] == "reader"
            client.subscribe("seen", consumer="reader")
        assert event(watching, "client_disconnected", "seen")["consumer"] == "reader"
        stats = event(watching, "stats", "")
        assert stats["topics"] >= 1
        assert stats["dropped"] == 0


def test_a_subscriber_on_the_main_namespace_hears_nothing_of_it(server: RunningServer) -> None:
    with dashboard(server.url) as watching, Client(server.url) as client:
        client.subscribe("mine")
        server.publish("elsewhere", 1)
        assert event(watching, "new_message", "elsewhere")["message"] == 1
        client.emit("subscribe_to_updates", {})
        assert client.next("error")["code"] == "not_found"
        client.call("unsubscribe", {})
        assert client.next("unsubscribed")["topics"] == ["mine"]


def test_a_dashboard_that_goes_away_costs_nothing_more(server: RunningServer) -> None:
    clients = server.get("/api/health")["websocket_clients"]
    with dashboard(server.url):
        assert server.get("/api/health")["websocket_clients"] == clients
    server.publish("after-it-went", 1)
    assert "failed" not in server.log.split("after-it-went")[-1]


def test_what_was_published_is_in_the_activity(server: RunningServer) -> None:
    for number in range(3):
        server.publish("busy", number, message_id=str(number))
    for window, slots in (("minute", 60), ("hour", 60), ("day", 144)):
        report = server.get("/graph/activity", window=window)
        (busy,) = [each for each in report["topics"] if each["topic"] == "busy"]
        assert sum(busy["counts"]) == 3
        assert len(busy["counts"]) == len(report["others"]) == slots
    refused = server.http.get(server.url + "/graph/activity?window=year", timeout=30)
    assert refused.status_code == 400
