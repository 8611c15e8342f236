"""Nodes on two PostgreSQL servers: the primary dies, and the other one takes its place."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from redis_server import RedisServer
from standby import Pair
from system.cluster import Follower, Publisher, check_arrival, cluster

MANY = 30


def test_a_database_that_takes_over_has_every_answered_message(tmp_path: Path) -> None:
    with (
        Pair() as pair,
        RedisServer(tmp_path) as redis,
        cluster(tmp_path, redis, database_url=pair.url) as nodes,
        ExitStack() as stack,
    ):
        followers = [stack.enter_context(Follower(node, "a", "b")) for node in nodes]
        publishers = [
            Publisher(node, "a", "b", name=f"p{n}", seed=n) for n, node in enumerate(nodes)
        ]
        try:
            for publisher in publishers:
                publisher.until(lambda p: len(p.answered) >= MANY)
            pair.primary.kill()
            for publisher in publishers:
                publisher.until(lambda p: p.refused > 0)
            before = [len(publisher.answered) for publisher in publishers]
            pair.standby.promote()
            for publisher, count in zip(publishers, before, strict=True):
                publisher.until(lambda p, wanted=count + MANY: len(p.answered) >= wanted)
        finally:
            for publisher in publishers:
                publisher.stop()
        assert check_arrival(nodes[0], publishers, followers) >= 4 * MANY
        assert [node.get("/health/ready")["status"] for node in nodes] == ["ready", "ready"]
        # A node that starts now finds the new primary behind the dead one.
        nodes[1].kill()
        nodes[1].start()
        answer = nodes[1].publish("c", 1)
        assert answer.status_code == 200, answer.text
