"""What a node counts of itself, and how Prometheus reads it.

Counting is adding to a number, once a batch and never once a delivery; everything else is looked
up when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

import msgspec
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Seconds; a commit takes some tens of microseconds, or as long as the disk needs to sync.
COMMIT_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Metrics:
    """The counters of one node. Belongs to the event loop."""

    def __init__(self) -> None:
        self.published = 0
        self.duplicates = 0
        self.consumed = 0
        self.slow_closes = 0
        self.commit_failures = 0
        self.commit_seconds = 0.0
        self.commits = [0] * (len(COMMIT_BUCKETS) + 1)
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.limits: Counter[str] = Counter()

    def stored(self, published: int, duplicates: int, consumed: int) -> None:
        """What a transaction brought."""
        self.published += published
        self.duplicates += duplicates
        self.consumed += consumed

    def committed(self, seconds: float) -> None:
        """How long a transaction took, from its begin to the loop hearing of its end."""
        self.commits[bisect_left(COMMIT_BUCKETS, seconds)] += 1
        self.commit_seconds += seconds

    def commit_failed(self) -> None:
        self.commit_failures += 1

    def closed_as_slow(self) -> None:
        self.slow_closes += 1

    def refused(self, door: str, code: str) -> None:
        """A request or event was answered with an error; `door` is `http` or `socket`."""
        self.refusals[door, code] += 1

    def limited(self, limit: str) -> None:
        """A client met one of the server's limits, by the name that it has in the docs."""
        self.limits[limit] += 1


class Gauges(msgspec.Struct, frozen=True):
    """How things stand when somebody asks. `connections` is by door; `topics` is None: unknown."""

    connections: Mapping[str, int]
    subscriptions: int
    topics: int | None
    deliveries: int
    waiting: int
    waiting_bytes: int
    is_draining: bool


class Exposition:
    """The text of `GET /metrics`, with a registry of its own."""

    def __init__(self, metrics: Metrics, facts: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._facts = facts

    def render(self, gauges: Gauges) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(lambda: self._families(gauges)))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return generate_latest(registry)

    def _families(self, gauges: Gauges) -> Iterator[Metric]:
        yield InfoMetricFamily("pubsub", "What this node is.", value=dict(self._facts))
        yield from self._counters(gauges)
        yield self._commits()
        yield from _gauges(gauges)

    def _counters(self, gauges: Gauges) -> Iterator[Metric]:
        metrics = self._metrics
        for name, text, value in (
            ("pubsub_messages_published", "Messages stored.", metrics.published),
            (
                "pubsub_messages_duplicate",
                "Publishes recognised as repeated, and not stored.",
                metrics.duplicates,
            ),
            ("pubsub_deliveries", "Messages handed to connections live.", gauges.deliveries),
            ("pubsub_consumptions", "Messages confirmed by consumers.", metrics.consumed),
            ("pubsub_commit_failures", "Transactions that failed.", metrics.commit_failures),
            (
                "pubsub_slow_closes",
                "Connections closed because they did not read.",
                metrics.slow_closes,
            ),
        ):
            yield CounterMetricFamily(name, text, value=value)
        refusals = CounterMetricFamily(
            "pubsub_refusals",
            "Requests and events answered with an error.",
            labels=("door", "code"),
        )
        for labels, number in sorted(metrics.refusals.items()):
            refusals.add_metric(labels, number)
        yield refusals
        limited = CounterMetricFamily(
            "pubsub_limited", "Times that clients met a limit.", labels=("limit",)
        )
        for limit, number in sorted(metrics.limits.items()):
            limited.add_metric((limit,), number)
        yield limited

    def _commits(self) -> Metric:
        bounds = [*map(str, COMMIT_BUCKETS), "+Inf"]
        counts = accumulate(self._metrics.commits)
        return HistogramMetricFamily(
            "pubsub_commit_seconds",
            "How long a transaction took.",
            buckets=[(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)],
            sum_value=self._metrics.commit_seconds,
        )


def _gauges(gauges: Gauges) -> Iterator[Metric]:
    connections = GaugeMetricFamily(
        "pubsub_connections", "Clients connected, by door.", labels=("door",)
    )
    for door, number in sorted(gauges.connections.items()):
        connections.add_metric((door,), number)
    yield connections
    for name, text, value in (
        ("pubsub_subscriptions", "Live subscriptions.", gauges.subscriptions),
        ("pubsub_topics", "Topics in the log.", gauges.topics),
        ("pubsub_journal_waiting", "Items that wait for a transaction.", gauges.waiting),
        ("pubsub_journal_waiting_bytes", "The bytes of these.", gauges.waiting_bytes),
        ("pubsub_draining", "1 while the node stops.", int(gauges.is_draining)),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=value)


class _Collector:
    """What a registry asks for its families."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect
