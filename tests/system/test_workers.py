"""Several processes on one port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import RedisServer
from server import RunningServer, environment, serve_command
from system.cluster import Follower
from system.test_process import refused_command


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def workers(server: RunningServer) -> dict[int, str]:
    """The ids of the nodes that are up, by process."""
    nodes = server.get("/api/cluster/nodes")["nodes"]
    return {node["pid"]: node["node_id"] for node in nodes if node["status"] == "up"}


def test_workers_serve_one_port_and_are_started_again(tmp_path: Path, redis: RedisServer) -> None:
    with RunningServer(tmp_path, workers=2, redis_url=redis.url) as server:
        server.until(lambda: len(workers(server)) == 2)
        before = workers(server)
        with Follower(server, "a", name="one") as one, Follower(server, "a", name="two") as two:
            for number in range(20):
                assert server.publish("a", number, message_id=f"m-{number}").ok
            for follower in (one, two):
                follower.until("a", 20)
                assert follower.heard["a"] == list(range(1, 21))
            killed = next(iter(before))
            os.kill(killed, signal.SIGKILL)
            server.until(
                lambda: (
                    f"worker_ended worker=1 pid={killed} code=-9" in server.log
                    or f"worker_ended worker=2 pid={killed} code=-9" in server.log
                )
            )
            server.until(lambda: len(re.findall("worker_started", server.log)) == 3)
            server.until(lambda: server.log.count("listening on") == 3)
            server.http.close()
            server.publish("a", "after", message_id="after")
            for follower in (one, two):
                follower.until("a", 21)
                assert follower.heard["a"] == list(range(1, 22))
        assert server.stop() == 0
        assert server.log.count(" stopped node_id=") == 2


def test_workers_need_a_redis(tmp_path: Path) -> None:
    said = refused_command(tmp_path, serve_command(port=0, workers=2), 1)
    assert "PUBSUB_REDIS_URL" in said


@pytest.mark.parametrize(
    ("database", "why"),
    [
        ("sqlite:///missing/pubsub.db", "does not exist"),
        ("postgresql://127.0.0.1:1/pubsub", "see that it runs"),
    ],
)
def test_what_no_worker_can_do_ends_all(
    tmp_path: Path, redis: RedisServer, database: str, why: str
) -> None:
    command = serve_command(port=0, workers=2, redis_url=redis.url, database_url=database)
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert why in ended.stderr
