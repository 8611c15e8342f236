"""A node that watches itself: what it tells, when, and what it keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loops import BACKENDS, PATIENCE, tell_story, until
from python_pubsub_server.alerts import Thresholds
from python_pubsub_server.bulletin import Bulletin
from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.clock import LogClock
from python_pubsub_server.cluster import Cluster, Measured
from python_pubsub_server.health import Health, checked, status_of
from python_pubsub_server.hub import Hub
from python_pubsub_server.journal import Journal
from python_pubsub_server.metrics import Metrics
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import Batch, Committed, open_database
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.vitals import Counted, Lag, System, Vitals
from python_pubsub_server.watching import ANSWER_SECONDS, HEALTH_SECONDS, Watching


class Nobody:
    def committed(self, batch: Batch, outcome: Committed) -> None:
        pass


class Story:
    """A watching node on a file, with clocks that a test turns."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        self.now = 6_000.0
        self.failure: str | None = None
        self.database_answers = threading.Event()
        self.database_answers.set()
        self.said: list[tuple[str, Any]] = []
        database = open_database(f"sqlite:///{path}/pubsub.db")
        bus, hub = LocalBus(), Hub()
        bulletin = Bulletin(bus, hub)
        bus.on_channel("cluster:*", self._hear)
        clock = LogClock(lambda: self.now, lambda: self.now)
        self.readers = Readers(database, runtime)
        self.journal = Journal(database.writer(), runtime, clock, Nobody())
        self.cluster = Cluster(
            "n1", "log", runtime, bus, hub, lambda: Measured(0, 0, False), clock.now, place="h"
        )
        self.watching = Watching(
            node_id="n1",
            version="1.0",
            runtime=runtime,
            clock=clock,
            bus=bus,
            bulletin=bulletin,
            cluster=self.cluster,
            readers=self.readers,
            journal=self.journal,
            vitals=Vitals(
                System(runtime, path), Lag(runtime), Metrics(), lambda: Counted(0, 0, 0, 0, 0)
            ),
            thresholds=Thresholds(loop_lag_ms=1e9, disk_percent=0.0),
            check=self._check,
            steady=lambda: self.now,
            turn_seconds=0.01,
        )

    def close(self) -> None:
        self.database_answers.set()
        self.watching.close(PATIENCE)
        self.cluster.close(PATIENCE)
        self.journal.close(PATIENCE)
        self.readers.close(PATIENCE)

    def until(self, condition: Callable[[], Any]) -> Any:
        return until(self.runtime, condition)

    def on(self, channel: str) -> list[Any]:
        return [report for name, report in self.said if name == f"cluster:{channel}"]

    def alerts(self) -> list[tuple[str, str]]:
        return [(alert["id"], alert["state"]) for alert in self.on("alerts")]

    def turns(self) -> None:
        """Let it take some turns more."""
        told = len(self.on("metrics"))
        self.until(lambda: len(self.on("metrics")) > told + 2)

    def _hear(self, channel: str, payload: bytes) -> None:
        self.said.append((channel, msgspec.json.decode(payload)))

    def _check(self) -> Health:
        self.readers.compute(lambda: self.database_answers.wait(PATIENCE))
        status = status_of(is_draining=False, database=self.failure, bus=None)
        checks = {"database": checked(self.failure), "bus": checked(None)}
        return Health(status, self.now, "1.0", "n1", 1.0, 0, checks)


def tell(backend: str, path: Path, tale: Callable[[Story], None]) -> None:
    tell_story(lambda runtime: Story(runtime, path), tale, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_health_is_told_at_each_change_and_now_and_then(backend: str, tmp_path: Path) -> None:
    def tale(s: Story) -> None:
        s.until(lambda: s.on("health"))
        s.turns()
        assert [report["status"] for report in s.on("health")] == ["healthy"]
        s.failure = "disk I/O error"
        s.until(lambda: len(s.on("health")) == 2)
        s.turns()
        assert len(s.on("health")) == 2
        s.failure = None
        s.until(lambda: len(s.on("health")) == 3)
        s.now += HEALTH_SECONDS
        s.until(lambda: len(s.on("health")) == 4)
        states = [report["status"] for report in s.on("health")]
        assert states == ["healthy", "unhealthy", "healthy", "healthy"]
        assert s.on("health")[1]["checks"]["database"]["message"] == "disk I/O error"
        assert s.alerts() == [("database_down:n1", "begin"), ("database_down:n1", "end")]

    tell(backend, tmp_path, tale)


def test_a_database_that_does_not_answer_is_down(tmp_path: Path) -> None:
    def tale(s: Story) -> None:
        s.until(lambda: s.on("health"))
        s.database_answers.clear()
        s.turns()
        assert s.alerts() == []
        s.now += ANSWER_SECONDS + 1
        s.until(lambda: s.alerts() == [("database_down:n1", "begin")])
        assert s.on("alerts")[0]["text"] == "it does not answer"
        s.database_answers.set()
        s.until(lambda: s.alerts()[1:] == [("database_down:n1", "end")])

    tell("eventlet", tmp_path, tale)


def test_a_node_that_goes_ends_its_alerts_and_says_goodbye(tmp_path: Path) -> None:
    heard: list[tuple[str, Any]] = []

    def tale(s: Story) -> None:
        s.failure = "disk I/O error"
        s.until(lambda: s.alerts() == [("database_down:n1", "begin")])
        s.said = heard

    tell("eventlet", tmp_path, tale)
    *_, (channel, alert), (last, goodbye) = heard
    assert (channel, alert["state"]) == ("cluster:alerts", "end")
    assert (last, goodbye["status"]) == ("cluster:health", "stopped")


def test_each_minute_is_kept_once_it_is_over(tmp_path: Path) -> None:
    def tale(s: Story) -> None:
        s.until(lambda: s.watching.trends.minute("n1", 100))
        s.now += 70.0
        found = s.until(lambda: s.readers.read(lambda r: r.minutes(0, 10**6, "n1", 10)))
        assert [(row.minute, row.node_id) for row in found] == [(100, "n1")]
        s.turns()
        assert len(s.readers.read(lambda r: r.minutes(0, 10**6, None, 10))) == 1

    tell("eventlet", tmp_path, tale)


def test_reports_of_other_versions_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(s: Story) -> None:
        s.until(lambda: s.on("health"))
        bulletin_hears = s.watching._hear  # as the bus would hand it over
        bulletin_hears("cluster:metrics", b'{"reported_by":"n9","surprise":1}')
        s.turns()

    tell("eventlet", tmp_path, tale)
    assert "report_not_understood" in caplog.text
