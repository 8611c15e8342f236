"""Three real nodes and a real Redis: nodes die and freeze, Redis goes, the disk fills up."""

from __future__ import annotations

import queue
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from disks import Disk, small_disk
from engines import sqlite_url
from redis_server import RedisServer
from server import RunningServer
from system.clients import Client
from system.cluster import all_see, cluster, node_id, send

SOON = 15.0  # in which an alert begins, and ends


class Watcher(Client):
    """Hears the alerts of a node's clients."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server.url)
        self.alerts: list[tuple[str, str]] = []
        # Not `subscribe`: an alert may come before its answer, and is kept for `until`.
        wanted = {"consumer": "watcher", "topics": ["cluster:alerts"]}
        assert self.call("subscribe", wanted)["status"] == "ok"

    def __enter__(self) -> Watcher:
        return self

    def until(self, *wanted: tuple[str, str]) -> None:
        """Wait until these alerts, by id, were told to be in these states."""
        missing = Counter(wanted)
        give_up_at = time.monotonic() + SOON
        while missing:
            left = give_up_at - time.monotonic()
            assert left > 0, f"missing {dict(missing)} of {self.alerts}"
            try:
                event, alert = self.events.get(timeout=left)
            except queue.Empty:
                continue
            if event != "redis_cluster_alerts":
                continue
            told = (alert["id"], alert["state"])
            self.alerts.append(told)
            missing -= Counter([told])

    def told(self, kind: str) -> list[tuple[str, str]]:
        return [told for told in self.alerts if told[0].startswith(kind)]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    with small_disk(tmp_path, monkeypatch) as disk:
        yield disk


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


def active(server: RunningServer) -> set[str]:
    """The alerts that a node knows of."""
    return {alert["id"] for alert in server.get("/api/cluster/alerts")["active"]}


def test_nodes_that_die_and_freeze_are_lost_until_they_are_back(
    tmp_path: Path, redis: RedisServer
) -> None:
    with cluster(tmp_path, redis, 3) as nodes:
        oldest, other, third = nodes
        all_see(nodes)
        frozen, killed = f"node_lost:{node_id(oldest)}", f"node_lost:{node_id(third)}"
        with Watcher(other) as watcher:
            third.kill()
            send(oldest, signal.SIGSTOP)
            watcher.until((frozen, "begin"), (killed, "begin"))
            assert {frozen, killed} <= active(other)
            send(oldest, signal.SIGCONT)
            watcher.until((frozen, "end"))
            third.start()
            watcher.until((killed, "end"))
            third.stop()  # that one says goodbye
            other.until(lambda: len(other.get("/api/cluster/nodes")["nodes"]) == 2)
            told = Counter(watcher.told("node_lost"))
        assert told == Counter(
            [(frozen, "begin"), (frozen, "end"), (killed, "begin"), (killed, "end")]
        )
        ended = oldest.get("/api/cluster/alerts")["ended"]
        assert {alert["id"] for alert in ended} >= {frozen, killed}


def test_a_node_that_dies_as_another_one_starts_is_lost(tmp_path: Path, redis: RedisServer) -> None:
    with cluster(tmp_path, redis) as nodes, Watcher(nodes[0]) as watcher:
        all_see(nodes)
        killed = f"node_lost:{node_id(nodes[1])}"
        nodes[1].kill()
        with RunningServer(tmp_path, redis_url=redis.url):  # beside it, not in its place
            watcher.until((killed, "begin"))


def test_without_redis_every_node_tells_its_own_clients(tmp_path: Path, redis: RedisServer) -> None:
    with (
        cluster(tmp_path, redis, 3) as nodes,
        Watcher(nodes[0]) as first,
        Watcher(nodes[2]) as last,
    ):
        all_see(nodes)
        ids = [f"bus_down:{node_id(node)}" for node in nodes]
        redis.kill()
        first.until((ids[0], "begin"))
        last.until((ids[2], "begin"))
        nodes[1].until(lambda: ids[1] in active(nodes[1]))
        redis.start()
        # Who heard a beginning hears its end. Of the other nodes' ends one may miss those that are
        # told before one's own node has its Redis back.
        first.until((ids[0], "end"))
        last.until((ids[2], "end"))
        all_see(nodes)
        assert first.told("node_lost") == last.told("node_lost") == []
        for node in nodes:
            node.until(lambda n=node: not active(n))


def test_a_disk_fills_up_and_is_freed(tmp_path: Path, redis: RedisServer, disk: Disk) -> None:
    file = sqlite_url(disk.directory)  # of PostgreSQL, its own machine has to look after the disk
    nodes_there = cluster(disk.directory, redis, 3, database_url=file)
    with nodes_there as nodes, Watcher(nodes[1]) as watcher:
        ids = [f"disk_low:{node_id(node)}" for node in nodes]
        disk.fill()
        watcher.until(*((name, "begin") for name in ids))
        disk.free()
        watcher.until(*((name, "end") for name in ids))
        assert len(watcher.told("disk_low")) == 6


def test_the_log_is_watched_by_one_node(tmp_path: Path, redis: RedisServer) -> None:
    settings = {"alert_silent_topics": "pulse=2", "alert_lag_messages": 2}
    with cluster(tmp_path, redis, 2, **settings) as (one, two), Watcher(two) as watcher:
        two.until(lambda: "topic_silent:pulse" in active(two))  # perhaps from before it watched
        beats = count()

        def is_heard() -> bool:
            one.publish("pulse", next(beats)).raise_for_status()
            return "topic_silent:pulse" not in active(two)

        two.until(is_heard)
        watcher.until(("topic_silent:pulse", "end"))
        watcher.until(("topic_silent:pulse", "begin"))
        for number in range(4):
            one.publish("orders", number, message_id=f"m-{number}")
        claim = {"consumer": "billing", "topic": "orders", "message_id": "m-0"}
        assert watcher.call("consumed", claim)["recorded"] == 1
        watcher.until(("consumer_lag:billing on orders", "begin"))
        assert watcher.call("consumed", claim | {"message_id": "m-3"})["recorded"] == 1
        one.publish("pulse", 1)
        watcher.until(("consumer_lag:billing on orders", "end"))
        assert Counter(watcher.told("consumer_lag")).most_common(1)[0][1] == 1
        # Both nodes know the alert that one of them tells.
        for node in (one, two):
            node.until(lambda n=node: active(n) <= {"topic_silent:pulse"})


def test_what_the_nodes_measured_is_kept(server: RunningServer) -> None:
    def seconds() -> Any:
        now = server.get("/api/health")["timestamp"]
        return server.get("/api/cluster/history", **{"from": now - 60})["nodes"]

    (node,) = server.until(seconds)
    assert node["node_id"] == node_id(server)
    assert node["metrics"]["cpu_percent"][0][0] <= server.get("/api/health")["timestamp"]
    wide = server.get("/api/cluster/history", metric="waiting", node="nobody")
    assert (wide["step"], wide["nodes"], wide["truncated"]) == (60, [], False)
    for query in ("metric=speed", "from=soon", "to=-1", "from=nan", "node=", "frm=1"):
        refused = server.http.get(f"{server.url}/api/cluster/history?{query}", timeout=20)
        assert refused.status_code == 400, query
