"""What the nodes report of themselves on `cluster:*`: their shapes, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .alerts import Alert
from .bulletin import Bulletin
from .cards import NodeFacts
from .health import Check, Health
from .vitals import Sample

METRICS, HEALTH, ALERTS = "cluster:metrics", "cluster:health", "cluster:alerts"
STOPPED = "stopped"  # the status in the last report of a node that goes


class MetricsReport(msgspec.Struct, frozen=True):
    """A node with its last second; `samples` has every second since the last report.

    `database` and `bus` are why these do not work; null: they do.
    """

    reported_by: str
    node_id: str
    host: str
    pid: int
    version: str
    status: str
    started_at: float
    last_seen: float
    connections: int
    subscriptions: int
    messages_per_second: float
    deliveries_per_second: float
    cpu_percent: float
    memory_mb: float
    loop_lag_ms: float
    commit_ms: float | None
    waiting: int
    slow_closes: int
    disk_free_percent: float | None
    database: str | None
    bus: str | None
    samples: Sequence[Sample]


class HealthReport(msgspec.Struct, frozen=True):
    """What `GET /api/health` answers, and the alerts that the node has begun and not ended."""

    reported_by: str
    status: str
    timestamp: float
    version: str
    node_id: str
    uptime_seconds: float
    websocket_clients: int
    checks: Mapping[str, Check]
    alerts: Sequence[Alert]


def metrics_report(
    facts: NodeFacts,
    version: str,
    samples: Sequence[Sample],
    database: str | None,
    bus: str | None,
) -> MetricsReport:
    """Of a node and its seconds, of which there is one at least."""
    last = msgspec.structs.asdict(samples[-1])
    last["last_seen"] = last.pop("timestamp")
    return MetricsReport(
        reported_by=facts.node_id,
        version=version,
        database=database,
        bus=bus,
        samples=samples,
        **(msgspec.structs.asdict(facts) | last),
    )


def health_report(health: Health, alerts: Sequence[Alert]) -> HealthReport:
    return HealthReport(reported_by=health.node_id, alerts=alerts, **msgspec.structs.asdict(health))


class Reports:
    """Says reports on the bus, and reads those of all nodes. Belongs to the event loop."""

    def __init__(self, bulletin: Bulletin) -> None:
        self._bulletin = bulletin
        self._readers: Mapping[str, Any] = {
            METRICS: msgspec.json.Decoder(MetricsReport),
            HEALTH: msgspec.json.Decoder(HealthReport),
            ALERTS: msgspec.json.Decoder(Alert),
        }

    def say(self, report: MetricsReport | HealthReport | Alert) -> None:
        self._bulletin.report(_CHANNELS[type(report)], report)

    def read(self, channel: str, payload: bytes) -> MetricsReport | HealthReport | Alert:
        """Raises msgspec.MsgspecError: it is of another version, or no report."""
        report: MetricsReport | HealthReport | Alert = self._readers[channel].decode(payload)
        return report


_CHANNELS: Mapping[type, str] = {MetricsReport: METRICS, HealthReport: HEALTH, Alert: ALERTS}
