"""What the nodes measured: the seconds of the last minutes, and the minutes of the last day."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .model import NodeMinute
from .reports import MetricsReport
from .vitals import METRICS, Sample

KEPT_SECONDS = 900
MOST_NODES = 64
MINUTE = 60
KEPT_MINUTES = 1_440

_decode = msgspec.json.Decoder(dict[str, tuple[float, float]]).decode

# A time, the mean from then on (for a second or a minute), and the highest value.
Point = tuple[float, float, float]


class NodeTrends(msgspec.Struct, frozen=True):
    """A node's points by metric, the oldest first."""

    node_id: str
    host: str
    metrics: Mapping[str, Sequence[Point]]


class TrendsReport(msgspec.Struct, frozen=True):
    """`step` is 1 or 60 seconds. `truncated`: there was more before this."""

    step: int
    since: float = msgspec.field(name="from")
    until: float = msgspec.field(name="to")
    truncated: bool
    nodes: Sequence[NodeTrends]


class Seconds:
    """The last samples of a node."""

    __slots__ = ("host", "samples")

    def __init__(self, host: str) -> None:
        self.host = host
        self.samples: deque[Sample] = deque(maxlen=KEPT_SECONDS)


class Trends:
    """The seconds of every node that reports, in memory. Belongs to the event loop."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, Seconds] = OrderedDict()

    def record(self, report: MetricsReport) -> None:
        """Keep what a node reports; of 64 nodes at most, those that reported last."""
        seconds = self._nodes.get(report.node_id)
        if seconds is None:
            seconds = self._nodes[report.node_id] = Seconds(report.host)
        self._nodes.move_to_end(report.node_id)
        while len(self._nodes) > MOST_NODES:
            self._nodes.popitem(last=False)
        seconds.samples.extend(report.samples)

    def seconds(
        self, node_id: str | None, metrics: Sequence[str], since: float, until: float
    ) -> list[NodeTrends]:
        """Every second that is known of a time."""
        found = []
        for name, seconds in self._nodes.items():
            if node_id not in (None, name):
                continue
            samples = [s for s in seconds.samples if since <= s.timestamp < until]
            if samples:
                points = {metric: list(_points(samples, metric)) for metric in metrics}
                found.append(NodeTrends(name, seconds.host, points))
        return found

    def minute(self, node_id: str, minute: int) -> NodeMinute | None:
        """What is known of a node's minute (Unix time / 60); None: nothing."""
        seconds = self._nodes.get(node_id)
        start = minute * MINUTE
        known = () if seconds is None else seconds.samples
        samples = [s for s in known if start <= s.timestamp < start + MINUTE]
        if seconds is None or not samples:
            return None
        rolled = {}
        for metric in METRICS:
            values = [value for _, value, _ in _points(samples, metric)]
            if values:
                rolled[metric] = (round(sum(values) / len(values), 3), max(values))
        return NodeMinute(minute, node_id, seconds.host, msgspec.json.encode(rolled).decode())


def minutes(rows: Sequence[NodeMinute], metrics: Sequence[str]) -> list[NodeTrends]:
    """Rows, the latest first, by node and metric. May take long: for a native thread."""
    hosts: dict[str, str] = {}
    found: dict[str, dict[str, list[Point]]] = {}
    for row in reversed(rows):
        hosts[row.node_id] = row.host
        points = found.setdefault(row.node_id, {metric: [] for metric in metrics})
        measured = _decode(row.measured)
        for metric in metrics:
            if metric in measured:
                points[metric].append((float(row.minute * MINUTE), *measured[metric]))
    return [NodeTrends(node_id, hosts[node_id], points) for node_id, points in found.items()]


def _points(samples: Iterable[Sample], metric: str) -> Iterable[Point]:
    for sample in samples:
        value: float | None = getattr(sample, metric)
        if value is not None:
            yield sample.timestamp, value, value
