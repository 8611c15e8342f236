"""What is wrong in the cluster now: each alert has a beginning, an end, and one node that tells it.

Rules say what is wrong; the book makes beginnings and ends of it, and keeps what other nodes tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from .vitals import Sample

BEGIN, END = "begin", "end"
DATABASE_DOWN, BUS_DOWN, LOOP_LAG, DISK_LOW = "database_down", "bus_down", "loop_lag", "disk_low"
NODE_LOST, TOPIC_SILENT, CONSUMER_LAG = "node_lost", "topic_silent", "consumer_lag"
# Of no single node: the oldest one tells them.
OF_CLUSTER = frozenset((NODE_LOST, TOPIC_SILENT, CONSUMER_LAG))
CALM_SECONDS = 5.0  # how long a loop has to be in time again
MOST_ACTIVE = 1_000
MOST_KEPT = 100


class Thresholds(msgspec.Struct, frozen=True):
    """From when on something is wrong; None: never."""

    loop_lag_ms: float = 250.0
    disk_percent: float = 5.0
    silent: Sequence[tuple[str, float]] = ()  # topics and seconds
    lag_messages: int | None = None


class Wrong(msgspec.Struct, frozen=True):
    """Something that is not as it should be. `subject` is what: a node, a topic, a consumer."""

    kind: str
    subject: str
    text: str
    node: str | None = None

    @property
    def alert_id(self) -> str:
        return f"{self.kind}:{self.subject}"


class Alert(msgspec.Struct, frozen=True):
    """What goes over `cluster:alerts`. `node` is null where it is about no single one."""

    reported_by: str
    id: str
    kind: str
    state: str
    node: str | None
    subject: str
    text: str
    since: float
    until: float | None = None


class OwnRules:
    """What a node sees of itself."""

    def __init__(self, node_id: str, thresholds: Thresholds) -> None:
        self._node_id = node_id
        self._thresholds = thresholds
        self._late: tuple[float, float] | None = None  # when last, and by how much at worst

    def look(
        self, sample: Sample, database: str | None, bus: str | None, now: float
    ) -> list[Wrong]:
        """`database` and `bus` say why these do not work; `now` is a steady clock's."""
        found = []
        if database is not None:
            found.append(self._wrong(DATABASE_DOWN, database))
        if bus is not None:
            found.append(self._wrong(BUS_DOWN, bus))
        free = sample.disk_free_percent
        if free is not None and free < self._thresholds.disk_percent:
            found.append(self._wrong(DISK_LOW, f"{free:g} % of the disk are free"))
        if sample.loop_lag_ms > self._thresholds.loop_lag_ms:
            worst = sample.loop_lag_ms if self._late is None else self._late[1]
            self._late = (now, max(worst, sample.loop_lag_ms))
        elif self._late is not None and now - self._late[0] >= CALM_SECONDS:
            self._late = None
        if self._late is not None:
            found.append(self._wrong(LOOP_LAG, f"the event loop was {self._late[1]:g} ms late"))
        return found

    def _wrong(self, kind: str, text: str) -> Wrong:
        return Wrong(kind, self._node_id, text, self._node_id)


class AlertBook:
    """The alerts of all nodes, as far as this one knows, and the last that ended."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self.active: dict[str, Alert] = {}
        self.ended: deque[Alert] = deque(maxlen=MOST_KEPT)

    def settle(
        self, wrongs: Iterable[Wrong], is_ours: Callable[[Alert], bool], at: float
    ) -> list[Alert]:
        """What begins and ends, given all that is wrong of what is ours to tell."""
        wanted = {wrong.alert_id: wrong for wrong in wrongs}
        changes = []
        for alert in [a for a in self.active.values() if is_ours(a)]:
            if alert.id not in wanted:
                changes.append(self._end(alert, at))
            elif alert.reported_by != self._node_id:  # of a node that told it before us
                self.active[alert.id] = msgspec.structs.replace(alert, reported_by=self._node_id)
        for alert_id, wrong in wanted.items():
            if alert_id not in self.active and len(self.active) < MOST_ACTIVE:
                alert = Alert(
                    reported_by=self._node_id,
                    id=alert_id,
                    kind=wrong.kind,
                    state=BEGIN,
                    node=wrong.node,
                    subject=wrong.subject,
                    text=wrong.text,
                    since=round(at, 3),
                )
                self.active[alert_id] = alert
                changes.append(alert)
        return changes

    def hear(self, alert: Alert) -> None:
        """Another node tells a beginning or an end."""
        if alert.reported_by == self._node_id:
            return
        if alert.state != END:
            if alert.id in self.active or len(self.active) < MOST_ACTIVE:
                self.active[alert.id] = alert
        elif self.active.pop(alert.id, None) is not None:
            self.ended.append(alert)

    def correct(self, node_id: str, told: Sequence[Alert]) -> None:
        """A node repeats all that it has told and not ended: this one may have missed some."""
        if node_id == self._node_id:
            return
        ids = {alert.id for alert in told}
        for alert in [a for a in self.active.values() if a.reported_by == node_id]:
            if alert.id not in ids:
                del self.active[alert.id]
        for alert in told:
            self.hear(alert)

    def own(self) -> list[Alert]:
        """What this node has told, and not ended."""
        return [a for a in self.active.values() if a.reported_by == self._node_id]

    def _end(self, alert: Alert, at: float) -> Alert:
        ended = msgspec.structs.replace(
            alert, reported_by=self._node_id, state=END, until=round(at, 3)
        )
        del self.active[alert.id]
        self.ended.append(ended)
        return ended
