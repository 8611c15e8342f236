"""A second of a node, for tests of what is made of it."""

from __future__ import annotations

from typing import Any

from python_pubsub_server.cards import NodeFacts
from python_pubsub_server.vitals import Sample


def sample(at: float = 1_000.0, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "timestamp": at,
        "cpu_percent": 1.0,
        "memory_mb": 70.0,
        "loop_lag_ms": 2.0,
        "connections": 3,
        "subscriptions": 4,
        "messages_per_second": 5.0,
        "deliveries_per_second": 6.0,
        "commit_ms": None,
        "waiting": 0,
        "slow_closes": 0,
        "disk_free_percent": 50.0,
    }
    return Sample(**values | changes)


def facts(node_id: str, started_at: float = 1.0, **changes: Any) -> NodeFacts:
    values: dict[str, Any] = {
        "node_id": node_id,
        "host": f"host-{node_id}",
        "pid": 7,
        "status": "up",
        "started_at": started_at,
        "last_seen": 1_000.0,
        "connections": 0,
        "subscriptions": 0,
        "messages_per_second": 0.0,
        "deliveries_per_second": 0.0,
        "cpu_percent": 0.0,
        "memory_mb": 0.0,
    }
    return NodeFacts(**values | changes)
