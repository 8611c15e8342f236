"""A node watches itself and, with the others, the cluster; and tells of it on `cluster:*`.

Once a second it takes a sample and says what begins or ends to be wrong, every other second its
metrics, and its health at each change and every ten seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from . import logs
from .alerts import END, NODE_LOST, OF_CLUSTER, Alert, AlertBook, OwnRules, Thresholds, Wrong
from .bulletin import Bulletin
from .bus.bus import Bus
from .clock import LogClock
from .cluster import DRAINING, Cluster
from .errors import Unavailable
from .health import Health, checked, status_of
from .journal import Journal
from .lookout import LogLookout, Lookout
from .model import NodeMinute
from .reports import STOPPED, HealthReport, MetricsReport, Reports, health_report, metrics_report
from .runtime import Runtime
from .storage.database import Writer
from .storage.readers import Readers
from .trends import KEPT_MINUTES, MINUTE, Trends
from .vitals import Sample, Vitals

TURN_SECONDS = 1.0
METRICS_TURNS = 2
HEALTH_SECONDS = 10.0
LOG_SECONDS = 5.0
MINUTE_OVER_SECONDS = 4.0  # reports may be that late
ANSWER_SECONDS = 5.0  # that the database may take
NO_ANSWER = "it does not answer"


class Watching:
    """Belongs to the event loop; a task of its own, and one for each look at the database."""

    def __init__(
        self,
        *,
        node_id: str,
        version: str,
        runtime: Runtime,
        clock: LogClock,
        bus: Bus,
        bulletin: Bulletin,
        cluster: Cluster,
        readers: Readers,
        journal: Journal,
        vitals: Vitals,
        thresholds: Thresholds,
        check: Callable[[], Health],
        steady: Callable[[], float] = time.monotonic,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self.book = AlertBook(node_id)
        self.trends = Trends()
        self._node_id = node_id
        self._version = version
        self._runtime = runtime
        self._clock = clock
        self._bus = bus
        self._cluster = cluster
        self._readers = readers
        self._journal = journal
        self._kept_minute = int(clock.now() // MINUTE) - 1
        self._vitals = vitals
        self._check = check
        self._steady = steady
        self._turn_seconds = turn_seconds
        self._reports = Reports(bulletin)
        self._rules = OwnRules(node_id, thresholds)
        self._lookout = Lookout(node_id, steady())
        self._log_lookout = LogLookout(thresholds, clock.now())
        self._of_log: list[Wrong] = []
        self._log_looked_at = 0.0
        self._samples: list[Sample] = []
        self._health: Health | None = None
        self._told: tuple[str, float] | None = None  # the health that was told last, and when
        self._asked_at: float | None = None  # the database, while it has not answered
        self._is_looking = False
        self._is_stopped = False
        self._stop = runtime.event()
        bulletin.on_report = self._hear
        self._task = runtime.spawn(self._run)

    def close(self, timeout: float) -> None:
        """Say goodbye: what this node had to tell is over, and the others need not miss it."""
        self._is_stopped = True
        self._stop.set()
        if not self._task.wait(timeout):
            self._task.kill()
        for alert in self.book.settle([], self._is_own, self._clock.now()):
            self._reports.say(alert)
        if self._health is not None:
            goodbye = msgspec.structs.replace(
                self._health, status=STOPPED, timestamp=self._clock.now()
            )
            self._reports.say(health_report(goodbye, ()))
        self._vitals.close(timeout)

    def _run(self) -> None:
        while not self._is_stopped:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - a defect: told by the log, tried again
                logs.event(logging.ERROR, "watching_failed", exception=error)
            self._stop.wait(self._turn_seconds)

    def _turn(self) -> None:
        now, at = self._steady(), self._clock.now()
        sample = self._vitals.sample(at)
        self._samples.append(sample)
        if self._is_stopped:
            return
        if self._asked_at is None:
            self._asked_at = now
            self._runtime.spawn(self._ask)
        health = self._judge(now, at)
        if len(self._samples) >= METRICS_TURNS:
            self._tell_metrics()
        self._keep_minute(at)
        if health is not None:
            self._tell_alerts(sample, health, now, at)
            self._tell_health(health, now)

    def _ask(self) -> None:
        """Whether the database works; may wait for long."""
        try:
            self._health = self._check()
        finally:
            self._asked_at = None

    def _judge(self, now: float, at: float) -> Health | None:
        """The health by now: as of the last check, or bad when that does not end."""
        known = self._health
        if known is None:
            return None
        checks = dict(known.checks)
        if self._asked_at is not None and now - self._asked_at > ANSWER_SECONDS:
            checks["database"] = checked(NO_ANSWER)
        checks["bus"] = checked(self._bus.failure)
        status = status_of(
            is_draining=self._cluster.own_facts().status == DRAINING,
            database=checks["database"].message,
            bus=checks["bus"].message,
        )
        return msgspec.structs.replace(known, status=status, timestamp=at, checks=checks)

    def _tell_metrics(self) -> None:
        samples, self._samples = tuple(self._samples), []
        health = self._health
        database = None if health is None else health.checks["database"].message
        self._reports.say(
            metrics_report(
                self._cluster.own_facts(), self._version, samples, database, self._bus.failure
            )
        )

    def _keep_minute(self, at: float) -> None:
        """Once a minute is over and its last seconds were reported: keep what it was like."""
        minute = int((at - MINUTE_OVER_SECONDS) // MINUTE) - 1
        if minute <= self._kept_minute:
            return
        self._kept_minute = minute
        measured = self.trends.minute(self._node_id, minute)
        if measured is not None:
            self._runtime.spawn(self._write_minute, measured)

    def _write_minute(self, measured: NodeMinute) -> None:
        def keep(writer: Writer) -> int:
            writer.keep_minute(measured, measured.minute - KEPT_MINUTES)
            return 1

        try:
            self._journal.upkeep(keep)
        except Unavailable as error:
            if not self._is_stopped:
                logs.event(logging.WARNING, "minute_not_kept", reason=error.message)

    def _tell_health(self, health: Health, now: float) -> None:
        if self._told is not None:
            status, told_at = self._told
            if status == health.status and now - told_at < HEALTH_SECONDS:
                return
        self._told = (health.status, now)
        self._reports.say(health_report(health, self.book.own()))

    def _tell_alerts(self, sample: Sample, health: Health, now: float, at: float) -> None:
        checks, nodes = health.checks, self._cluster.nodes()
        bus = checks["bus"].message
        wrongs = self._rules.look(sample, checks["database"].message, bus, now)
        bus_failure = bus if self._bus.is_shared else None
        self._lookout.look(nodes, self._cluster.places(), bus_failure, now)
        is_oldest = self._cluster.is_current and self._lookout.is_oldest(nodes)
        is_teller = is_oldest and not self._lookout.is_blind(now)
        if is_teller:
            self._look_into_log(now)
            wrongs += [*self._lookout.lost(), *self._of_log]
        there = {node.node_id for node in nodes}

        def is_ours(alert: Alert) -> bool:
            if alert.kind == NODE_LOST and alert.node in there:
                return is_oldest  # it is seen, however little else is
            if alert.kind in OF_CLUSTER:
                return is_teller
            return self._is_own(alert) or (is_teller and alert.node not in there)

        for alert in self.book.settle(wrongs, is_ours, at):
            logs.event(
                logging.WARNING if alert.until is None else logging.INFO,
                f"alert_{alert.state}",
                kind=alert.kind,
                subject=alert.subject,
                text=alert.text,
            )
            self._reports.say(alert)

    def _is_own(self, alert: Alert) -> bool:
        return alert.node == self._node_id and alert.kind not in OF_CLUSTER

    def _look_into_log(self, now: float) -> None:
        if (
            self._log_lookout.has_work
            and not self._is_looking
            and now - self._log_looked_at >= LOG_SECONDS
        ):
            self._log_looked_at, self._is_looking = now, True
            self._runtime.spawn(self._read_log)

    def _read_log(self) -> None:
        at = self._clock.now()
        try:
            self._of_log = self._readers.read(lambda reader: self._log_lookout.look(reader, at))
        except Unavailable as error:  # the database's own alert tells
            logs.event(logging.DEBUG, "log_not_watched", reason=error.message)
        finally:
            self._is_looking = False

    def _hear(self, channel: str, payload: bytes) -> None:
        try:
            report = self._reports.read(channel, payload)
        except msgspec.MsgspecError as error:
            logs.event(logging.WARNING, "report_not_understood", channel=channel, reason=str(error))
            return
        if isinstance(report, MetricsReport):
            self.trends.record(report)
        elif isinstance(report, HealthReport):
            self.book.correct(report.node_id, report.alerts)
            for alert in report.alerts:
                self._heed(alert)
            if report.status == STOPPED:
                self._lookout.said_goodbye(report.node_id, self._steady())
        else:
            self.book.hear(report)
            self._heed(report)

    def _heed(self, alert: Alert) -> None:
        """Know of lost nodes what others know: who tells next must not end it for not knowing."""
        if alert.kind != NODE_LOST or alert.node is None or alert.reported_by == self._node_id:
            return
        if alert.state == END:
            self._lookout.lost_no_more(alert.node, self._steady())
        else:
            self._lookout.was_lost(alert.node, alert.text, self._steady())


def alerts_of(book: AlertBook) -> dict[str, Sequence[Alert]]:
    """What is wrong now, and what was, the latest first."""
    return {
        "active": sorted(book.active.values(), key=lambda alert: -alert.since),
        "ended": list(reversed(book.ended)),
    }
