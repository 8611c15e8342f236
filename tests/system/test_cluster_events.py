"""The namespace `/health`, and what is said on the cluster's channels, over real servers."""

from __future__ import annotations

import json
from pathlib import Path

from python_pubsub_server.client import PubSubClient
from redis_server import RedisServer
from server import RunningServer
from system.clients import Client, RawClient
from system.cluster import cluster
from system.plain import PlainClient


def test_the_namespace_health(server: RunningServer) -> None:
    with RawClient(server.url, "/health") as client:
        start = "42/health,"
        name, greeting = json.loads(client.next().removeprefix(start))
        assert (name, greeting["status"]) == ("health_connected", "connected")
        client.send(start + '1["request_health"]')
        acknowledged = json.loads(client.next().removeprefix("43/health,1"))[0]
        assert json.loads(client.next().removeprefix(start)) == ["health_response", acknowledged]
        report = server.get("/api/health")
        assert acknowledged.keys() == report.keys()
        assert acknowledged["node_id"] == greeting["node_id"] == report["node_id"]
        assert acknowledged["status"] == "healthy"
        assert acknowledged["checks"] == report["checks"]
        assert report["websocket_clients"] == 0
        client.send(start + '["request_health"]')
        assert json.loads(client.next().removeprefix(start))[0] == "health_response"
        client.send(start + '["surprise"]')
        assert json.loads(client.next().removeprefix(start))[1]["code"] == "not_found"


def test_events_reach_clients_of_the_same_server(server: RunningServer) -> None:
    with Client(server.url) as client, PlainClient(server.url, "/ws") as plain:
        answer = server.http.post(
            server.url + "/api/cluster/events",
            json={"channel": "cluster:alerts", "data": {"é": [1]}},
            timeout=20,
        )
        assert answer.json() == {"status": "ok"}
        assert client.next("redis_cluster_alerts") == {"é": [1]}
        assert plain.next("redis_cluster_alerts")["data"] == {"é": [1]}
        with PubSubClient(server.url) as program:
            program.publish_event("cluster:health", "fine")
        assert client.next("redis_cluster_health") == "fine"
        server.get("/api/cluster/nodes")  # who has not asked for what nodes say does not hear it
        client.subscribe("cluster:alerts")
        server.publish("cluster:alerts", {"stored": True})
        assert client.next("message")["message"] == {"stored": True}
        assert client.next("redis_cluster_alerts") == {"stored": True}


def test_who_asks_for_the_nodes_lets_subscribers_know(server: RunningServer) -> None:
    with Client(server.url) as client:
        client.subscribe("cluster:metrics")
        nodes = server.get("/api/cluster/nodes")
        told = client.next("redis_cluster_metrics")
        while "reported_by" in told:
            told = client.next("redis_cluster_metrics")
        assert told == nodes


def test_what_other_programs_say_in_redis_reaches_clients_of_every_node(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path) as redis,
        cluster(tmp_path, redis) as (one, other),
        Client(one.url) as here,
        Client(other.url) as there,
    ):
        for channel in ("metrics", "health", "alerts"):
            for payload, shown in (
                (b'{"cpu": 1}', {"cpu": 1}),
                (b'{"cpu":', '{"cpu":'),
                (b"\xff", "\ufffd"),
            ):
                redis.client.publish(f"cluster:{channel}", payload)
                for client in (here, there):
                    assert client.next(f"redis_cluster_{channel}") == shown
        one.publish("cluster:metrics", 7)
        for client in (here, there):
            assert client.next("redis_cluster_metrics") == 7
