"""The namespace `/monitoring`, over a real server and real clients."""

from __future__ import annotations

import json
from pathlib import Path

from server import RunningServer
from system.clients import Client, RawClient
from system.dashboards import START, dashboard, event, warning


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


def test_a_dashboard_hears_of_the_servers_warnings_also_of_earlier_ones(tmp_path: Path) -> None:
    with RunningServer(tmp_path, outbound_bytes=65_536) as server:
        with dashboard(server.url) as watching:
            with RawClient(server.url) as slow:
                slow.send('420["subscribe", "heap"]')
                slow.next()
                number = 0
                while "closed_as_slow" not in server.log:
                    number += 1
                    server.publish("heap", "x" * 500_000, message_id=str(number))
            told = warning(watching, "closed_as_slow")
            assert told["level"] == "warning"
        with dashboard(server.url) as later:
            assert warning(later, "closed_as_slow") == told


def test_what_a_consumer_has_not_confirmed_is_counted(server: RunningServer) -> None:
    with Client(server.url) as client:
        client.subscribe("owed", "owed:*", consumer="debtor")
        for number in range(3):
            server.publish("owed", number, message_id=str(number))
        server.publish("owed:more", 1)
        claim = {"consumer": "debtor", "topic": "owed", "message_id": "1"}
        assert client.call("consumed", claim)["recorded"] == 1
        (found,) = server.get("/monitoring/clients", consumer="debtor")
        unconsumed = {each["topic"]: each["unconsumed"] for each in found["subscriptions"]}
        assert unconsumed == {"owed": 2, "owed:*": 1}
        assert found["address"] == "127.0.0.1"
        assert found["backlog_bytes"] >= 0
        assert found["connected_at"] <= found["subscriptions"][0]["connected_at"]


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


def test_a_dashboard_asks_for_the_nodes(server: RunningServer) -> None:
    with RawClient(server.url, "/monitoring") as client:
        client.send(START + '1["request_nodes_status"]')
        acknowledged = client.next()
        (node,) = json.loads(acknowledged.removeprefix("43/monitoring,1"))[0]["nodes"]
        assert node["status"] == "up"
        answered = json.loads(client.next().removeprefix(START))
        assert answered == ["nodes_status_response", {"nodes": [node]}]
        client.send(START + '["request_cluster_status"]')
        name, status = json.loads(client.next().removeprefix(START))
        assert name == "cluster_status_response"
        assert (status["status"], status["nodes_total"], status["nodes_up"]) == ("healthy", 1, 1)
