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

from engines import sqlite_url
from postgresql import PostgreSQL
from redis_server import Proxy, RedisServer
from server import RunningServer
from system.cluster import Follower, Publisher, check_arrival

from .amount import amount
from .tally import Tally

NODES = 3
TOPICS = ("a", "b")
SECONDS = float(os.environ.get("TORTURE_CLUSTER_SECONDS", amount(short=8, full=30)))


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
        publishers = [
            Publisher(node, *TOPICS, name=f"p{n}", seed=dice.random())
            for n, node in enumerate(world.nodes)
        ]
        try:
            world.live(SECONDS)
        finally:
            for publisher in publishers:
                publisher.stop()
        answered = check_arrival(world.nodes[0], publishers, followers)
        tally.add(
            mishaps_of_a_cluster=len(world.done),
            messages_through_a_cluster=answered,
            publishes_refused_by_a_cluster=sum(publisher.refused for publisher in publishers),
        )
        assert answered > 10
        for node in world.nodes:
            node.until(lambda n=node: n.get("/api/health")["status"] == "healthy")
