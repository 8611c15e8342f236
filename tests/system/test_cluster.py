"""Two and three real servers on one database, with a real Redis between them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import sqlite_url
from postgresql import PostgreSQL
from redis_server import Proxy, RedisServer
from server import RunningServer
from system.clients import Client
from system.cluster import PATIENCE, Follower, cluster
from system.dashboards import dashboard, event

Nodes = list[RunningServer]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings of nodes that share a database of each kind."""
    if request.param == "sqlite":
        return {"database_url": sqlite_url(tmp_path)}
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return {"database_url": postgresql.new_database()}


def publish(server: RunningServer, topic: str, first: int, last: int, name: str = "p") -> None:
    for n in range(first, last + 1):
        answer = server.publish(topic, n, message_id=f"{name}-{n}", producer=name)
        assert answer.status_code == 200, answer.text


def both(*functions: threading.Thread) -> None:
    for each in functions:
        each.start()
    for each in functions:
        each.join(60)


def test_clients_of_every_node_get_every_message_once_and_in_order(
    tmp_path: Path, redis: RedisServer, database: dict[str, str]
) -> None:
    with cluster(tmp_path, redis, 3, **database) as (one, two, three):
        with Follower(one, "a") as f1, Follower(two, "a") as f2, Follower(three, "a") as f3:
            both(
                threading.Thread(target=publish, args=(one, "a", 1, 50, "x")),
                threading.Thread(target=publish, args=(two, "a", 1, 50, "y")),
            )
            for follower in (f1, f2, f3):
                follower.until("a", 100)
                assert follower.heard["a"] == list(range(1, 101))
            assert f1.ids == f2.ids == f3.ids
        for server in (one, two, three):
            assert server.get("/api/health")["checks"]["bus"] == {"status": "ok"}
            assert server.get("/health/ready")["status"] == "ready"


def test_a_replay_on_one_node_meets_what_is_published_on_another(
    tmp_path: Path, redis: RedisServer, database: dict[str, str]
) -> None:
    with cluster(tmp_path, redis, **database) as (one, two):
        body = [
            {"topic": "a", "message_id": f"old-{n}", "message": n, "producer": "old"}
            for n in range(600)
        ]
        assert one.http.post(one.url + "/publish/batch", json=body, timeout=30).ok
        is_over = threading.Event()
        published = 0

        def keep_publishing() -> None:
            nonlocal published
            while not is_over.is_set():
                published += 1
                publish(one, "a", published, published)

        publisher = threading.Thread(target=keep_publishing)
        publisher.start()
        followers = []
        try:
            for n in range(4):
                followers.append(Follower(two, "a", name=f"f{n}").__enter__())
        finally:
            is_over.set()
            publisher.join(30)
        for follower in followers:
            follower.until("a", 600 + published)
            assert follower.heard["a"] == list(range(1, 601 + published))
            follower.__exit__()


def test_without_redis_every_node_serves_and_the_others_follow(
    tmp_path: Path, redis: RedisServer, database: dict[str, str]
) -> None:
    with cluster(tmp_path, redis, **database) as (one, two), Follower(two, "a") as follower:
        publish(one, "a", 1, 5)
        follower.until("a", 5)
        redis.kill()
        for server in (one, two):
            server.until(lambda s=server: "bus_lost" in s.log)
            answer = server.http.get(server.url + "/health/ready", timeout=PATIENCE)
            assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
            assert server.get("/api/health")["status"] == "degraded"
            assert server.get("/health")["status"] == "healthy"
        publish(one, "a", 6, 15)
        follower.until("a", 15)
        redis.start()
        for server in (one, two):
            server.until(lambda s=server: s.log.count("bus_connected") == 2)
        publish(two, "a", 16, 20, "q")
        publish(one, "a", 21, 25)
        follower.until("a", 25)
        assert follower.heard["a"] == list(range(1, 26))


def test_a_node_that_is_cut_off_from_redis_follows_by_the_log(
    tmp_path: Path, redis: RedisServer
) -> None:
    with (
        Proxy(redis.port) as proxy,
        RunningServer(tmp_path, redis_url=redis.url) as one,
        RunningServer(tmp_path, redis_url=proxy.url) as two,
        Follower(one, "a") as f1,
        Follower(two, "a") as f2,
    ):
        publish(one, "a", 1, 3)
        proxy.cut()
        publish(one, "a", 4, 6)
        publish(two, "a", 1, 3, "q")
        for follower in (f1, f2):
            follower.until("a", 9)
        two.until(lambda: "bus_lost" in two.log)
        proxy.mend()
        two.until(lambda: two.log.count("bus_connected") == 2)
        publish(two, "a", 4, 6, "q")
        for follower in (f1, f2):
            follower.until("a", 12)
            assert follower.heard["a"] == list(range(1, 13))


def test_a_node_that_is_killed_loses_nothing_that_it_answered(
    tmp_path: Path, redis: RedisServer, database: dict[str, str]
) -> None:
    with cluster(tmp_path, redis, **database) as (one, two), Follower(two, "a") as follower:
        publish(one, "a", 1, 20)
        one.kill()
        publish(two, "a", 1, 5, "q")
        one.start()
        publish(one, "a", 21, 25)
        follower.until("a", 30)
        assert follower.heard["a"] == list(range(1, 31))
        # A repeat of what was answered elsewhere, in time: known in the log.
        answer = two.publish("a", 25, message_id="p-25", producer="p")
        assert answer.json() == {"status": "ok", "duplicate": True}


def test_a_client_that_was_refused_is_served_when_the_database_is_back(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    with RunningServer(tmp_path, database_url=postgresql.new_database()) as server:
        publish(server, "a", 1, 3)
        postgresql.halt()
        try:
            follower = Follower(server, "a")
            assert follower.is_refused.wait(30)
        finally:
            postgresql.resume()
        with follower:
            follower.until("a", 3)
            publish(server, "a", 4, 5)
            follower.until("a", 5)
            assert follower.heard["a"] == [1, 2, 3, 4, 5]


def test_the_password_of_redis_is_not_logged(tmp_path: Path, redis: RedisServer) -> None:
    redis.client.config_set("requirepass", "s3cret")
    url = f"redis://:s3cret@127.0.0.1:{redis.port}/0"
    with RunningServer(tmp_path, redis_url=url) as server:
        assert server.get("/health/ready")["status"] == "ready"
        assert "s3cret" not in server.log


def test_what_is_shown_is_the_union_of_the_nodes_that_live(
    tmp_path: Path, redis: RedisServer
) -> None:
    with (
        cluster(tmp_path, redis) as (one, two),
        Follower(one, "a", name="ann"),
        Follower(two, "a", "b", name="bob"),
    ):
        publish(one, "a", 1, 1)

        def shown(server: RunningServer) -> set[tuple[str, str]]:
            return {(each["consumer"], each["topic"]) for each in server.get("/clients")}

        everybody = {("ann", "a"), ("bob", "a"), ("bob", "b")}
        for server in (one, two):
            server.until(lambda s=server: shown(s) == everybody)
            (topic,) = server.get("/topics")
            assert topic["subscribers"] == 2
            links = server.get("/graph/state")["links"]
            assert {(x["source"], x["target"]) for x in links if x["type"] == "consume"} == {
                (topic, name) for name, topic in everybody
            }
            nodes = server.get("/api/cluster/nodes")["nodes"]
            assert {node["status"] for node in nodes} == {"up"}
            assert sum(node["connections"] for node in nodes) >= 2
            assert len({node["pid"] for node in nodes}) == 2
        with Client(one.url) as client:
            users = client.call("presence", {"topic": "a"})["users"]
            assert [user["user"] for user in users] == ["ann", "bob"]
        two.kill()
        one.until(lambda: len(one.get("/api/cluster/nodes")["nodes"]) == 1)
        assert shown(one) == {("ann", "a")}


def test_a_dashboard_sees_what_happens_on_every_node(tmp_path: Path, redis: RedisServer) -> None:
    with cluster(tmp_path, redis) as (one, two), dashboard(one.url) as watching:
        # The other node hears within a moment that somebody watches: then its numbers are in.
        with Follower(two, "a", name="ann"):
            while event(watching, "stats", "")["subscriptions"] < 1:
                pass
            with Client(two.url) as client:
                client.subscribe("b", consumer="bob")
                assert event(watching, "new_client", "b")["consumer"] == "bob"
                publish(two, "b", 1, 1)
                assert event(watching, "new_message", "b")["message_id"] == "p-1"
                claim = {"consumer": "bob", "topic": "b", "message_id": "p-1"}
                assert client.call("consumed", claim)["recorded"] == 1
                assert event(watching, "new_consumption", "b")["consumer"] == "bob"
            assert event(watching, "client_disconnected", "b")["consumer"] == "bob"
        two.kill()
        while event(watching, "stats", "")["connections"] > 0:
            pass


def test_asking_for_the_nodes_tells_the_channel(tmp_path: Path, redis: RedisServer) -> None:
    with cluster(tmp_path, redis, 1) as (one,), redis.client.pubsub() as heard:
        heard.subscribe("cluster:metrics")
        assert heard.get_message(timeout=PATIENCE)["type"] == "subscribe"
        told = one.get("/api/cluster/nodes")
        message = heard.get_message(timeout=PATIENCE)
        assert json.loads(message["data"]) == told


def test_what_another_program_adds_to_the_stream_is_published_once(
    tmp_path: Path, redis: RedisServer
) -> None:
    with cluster(tmp_path, redis) as (one, two), Follower(two, "a") as follower:
        for n in range(1, 21):
            entry = {"topic": "a", "message_id": f"m{n}", "producer": "x", "message": str(n)}
            redis.client.xadd("pubsub:ingress", entry)
        redis.client.xadd("pubsub:ingress", {"topic": "a", "message": "no id"})
        follower.until("a", 20)
        one.until(lambda: redis.client.xlen("pubsub:ingress") == 0)
        assert sorted(follower.ids["a"]) == sorted(f"m{n}" for n in range(1, 21))
        assert redis.client.xlen("pubsub:ingress:rejected") == 1


def test_the_ledger_of_every_node_knows_the_clients_of_all(
    tmp_path: Path, redis: RedisServer
) -> None:
    with cluster(tmp_path, redis) as (one, two), Follower(two, "a", name="bob") as follower:
        publish(one, "a", 1, 1)
        follower.until("a", 1)

        def delivered(server: RunningServer) -> set[str]:
            ledger = server.get("/topics/a/messages/1/deliveries")
            return {each["consumer"] for each in ledger["consumers"] if each["delivered_at"]}

        for server in (one, two):
            server.until(lambda s=server: delivered(s) == {"bob"})
        two.kill()
        assert delivered(one) == {"bob"}
        publish(one, "a", 2, 2)
        explained = one.get("/topics/a/explain", consumer="bob", sequence=2)
        assert explained["verdict"] == "not_subscribed"
