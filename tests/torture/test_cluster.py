"""Three nodes on one log, while nodes are killed, Redis is killed or hangs, and networks are cut.

The log is an SQLite file, or a PostgreSQL that restarts, too.

At the end, every client has every message that was answered, in order, once.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from engines import sqlite_url
from postgresql import PostgreSQL
from redis_server import Proxy, RedisServer
from server import RunningServer
from system.cluster import Follower

from .amount import amount
from .tally import Tally

NODES = 3
TOPICS = ("a", "b")
SECONDS = float(os.environ.get("TORTURE_CLUSTER_SECONDS", amount(short=8, full=1_200)))
PUBLISH_TIMEOUT = 20.0


class Publisher:
    """Publishes on one node, as fast as it answers; knows what was answered."""

    def __init__(self, server: RunningServer, name: str, seed: float) -> None:
        self.answered: dict[str, tuple[str, int]] = {}
        self.refused = 0
        self.wrong: list[str] = []
        self._server = server
        self._name = name
        self._random = random.Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        with requests.Session() as http:
            http.trust_env = False
            while not self._is_over.is_set():
                number += 1
                self._publish(http, f"{self._name}-{number}")
                self._is_over.wait(self._random.choice((0, 0, 0.005, 0.02)))

    def _publish(self, http: requests.Session, message_id: str) -> None:
        topic = self._random.choice(TOPICS)
        size = self._random.choice((1, 1, 1, 50, 5_000))
        body = {
            "topic": topic,
            "message_id": message_id,
            "message": "x" * size,
            "producer": self._name,
        }
        try:
            answer = http.post(
                self._server.url + "/publish",
                json=body,
                headers={"Prefer": "return=representation"},
                timeout=PUBLISH_TIMEOUT,
            )
        except requests.RequestException:
            self._is_over.wait(0.1)
            return  # nobody knows; it may be in the log
        if answer.status_code == 200:
            self.answered[message_id] = (topic, answer.json()["sequence"])
        elif answer.status_code == 503 and "Retry-After" in answer.headers:
            self.refused += 1
        else:
            self.wrong.append(f"{answer.status_code} {answer.text}")


class World:
    """The nodes, each with its own way to one Redis, and what can go wrong with them."""

    def __init__(
        self, stack: ExitStack, directory: Path, dice: random.Random, database: str
    ) -> None:
        self.random = dice
        self.postgresql: PostgreSQL | None = None
        url = sqlite_url(directory)
        if database == "postgresql":
            self.postgresql = PostgreSQL()
            stack.callback(self.postgresql.stop)
            url = self.postgresql.start().new_database()
        settings = {"database_url": url, "log_level": "info", "drain_seconds": 2}
        self.redis = stack.enter_context(RedisServer(directory))
        self.ways = [stack.enter_context(Proxy(self.redis.port)) for _ in range(NODES)]
        self.nodes = [
            stack.enter_context(RunningServer(directory, redis_url=way.url, **settings))
            for way in self.ways
        ]
        self.done: list[str] = []

    def live(self, seconds: float) -> None:
        """Let one thing after the other go wrong, and be repaired."""
        end = time.monotonic() + seconds
        mishaps = [self.kill, self.stop, self.lose_redis, self.hang_redis, self.cut, self.cut_all]
        if self.postgresql is not None:
            mishaps += [self.lose_postgresql] * 2
            self.mishap(self.lose_postgresql)  # at least once
        while time.monotonic() < end:
            self.mishap(self.random.choice(mishaps))

    def mishap(self, happen: Callable[[], None]) -> None:
        self.done.append(happen.__name__)
        happen()
        self._pause()

    def kill(self) -> None:
        node = self.random.choice(self.nodes)
        node.kill()
        self._pause()
        node.start()

    def stop(self) -> None:
        node = self.random.choice(self.nodes)
        node.stop()
        node.start()

    def lose_redis(self) -> None:
        self.redis.kill()
        self._pause()
        self.redis.start()

    def hang_redis(self) -> None:
        self.redis.freeze()
        self._pause()
        self.redis.thaw()

    def lose_postgresql(self) -> None:
        assert self.postgresql is not None
        self.postgresql.halt()
        self._pause()
        self.postgresql.resume()

    def cut(self) -> None:
        way = self.random.choice(self.ways)
        way.cut()
        self._pause()
        way.mend()

    def cut_all(self) -> None:
        for way in self.ways:
            way.cut()
        self._pause()
        for way in self.ways:
            way.mend()

    def _pause(self) -> None:
        threading.Event().wait(self.random.choice((0.05, 0.3, 1.0)))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_client_of_every_node_gets_every_answered_message_in_order_once(
    tmp_path: Path, dice: random.Random, tally: Tally, database: str
) -> None:
    with ExitStack() as stack:
        world = World(stack, tmp_path, dice, database)
        followers = [
            stack.enter_context(Follower(node, *TOPICS, name=f"f{n}"))
            for n, node in enumerate(world.nodes)
        ]
        publishers = [Publisher(node, f"p{n}", dice.random()) for n, node in enumerate(world.nodes)]
        try:
            world.live(SECONDS)
        finally:
            for publisher in publishers:
                publisher.stop()
        assert [text for publisher in publishers for text in publisher.wrong] == []
        refused = sum(publisher.refused for publisher in publishers)
        answered = {k: v for publisher in publishers for k, v in publisher.answered.items()}
        topics = world.nodes[0].get("/topics")
        last = {each["topic"]: each["sequence"] for each in topics}
        tally.add(
            mishaps_of_a_cluster=len(world.done),
            messages_through_a_cluster=len(answered),
            publishes_refused_by_a_cluster=refused,
        )
        assert len(answered) > 10
        for follower in followers:
            for topic, sequence in last.items():
                follower.until(topic, sequence)
                assert follower.heard[topic] == list(range(1, sequence + 1))
            assert follower.ids == followers[0].ids
        for message_id, (topic, sequence) in answered.items():
            assert followers[0].ids[topic][sequence - 1] == message_id
        for node in world.nodes:
            node.until(lambda n=node: n.get("/api/health")["status"] == "healthy")
