"""What a node measures of itself, once a second.

What the system has to say is asked in a native thread: a disk that hangs must not stop the loop.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from .metrics import Metrics
from .runtime import NativeThreads, Runtime

LAG_STEP_SECONDS = 0.05
READ_SECONDS = 5.0


class Sample(msgspec.Struct, frozen=True):
    """A second of a node. None: nothing to measure, such as a commit when there was none."""

    timestamp: float
    cpu_percent: float
    memory_mb: float
    loop_lag_ms: float
    connections: int
    subscriptions: int
    messages_per_second: float
    deliveries_per_second: float
    commit_ms: float | None
    waiting: int
    slow_closes: int
    disk_free_percent: float | None


METRICS = tuple(name for name in Sample.__struct_fields__ if name != "timestamp")


class Counted(msgspec.Struct, frozen=True):
    """What the parts of a node count: some now, some since its start."""

    connections: int
    subscriptions: int
    waiting: int
    messages: int
    deliveries: int


class Seen(msgspec.Struct, frozen=True):
    """What the system says of the process and its disk."""

    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    disk_free_percent: float | None = None


class Lag:
    """How late the event loop is: a timer that says by how much it came too late at worst."""

    def __init__(self, runtime: Runtime, steady: Callable[[], float] = time.monotonic) -> None:
        self._runtime = runtime
        self._steady = steady
        self._worst = 0.0
        self._due = 0.0
        self._schedule()

    def take(self) -> float:
        """The worst delay in seconds since this was asked last, one under way included."""
        worst = max(self._worst, self._steady() - self._due)
        self._worst = 0.0
        return max(0.0, worst)

    def close(self) -> None:
        self._timer.cancel()

    def _schedule(self) -> None:
        self._due = self._steady() + LAG_STEP_SECONDS
        self._timer = self._runtime.after(LAG_STEP_SECONDS, self._fire)

    def _fire(self) -> None:
        self._worst = max(self._worst, self._steady() - self._due)
        self._schedule()


class System:
    """Asks the system, in a native thread of its own."""

    def __init__(self, runtime: Runtime, disk: Path | None) -> None:
        self._disk = disk
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer says nothing
        self._threads: NativeThreads = runtime.native_threads(1, "vitals")
        self._last = Seen()
        self._is_asked = False

    def look(self) -> Seen:
        """What the system says now; what it said last while it does not answer."""
        if not self._is_asked:
            self._is_asked = True
            try:
                self._last = self._threads.run(self._read, timeout=READ_SECONDS)
            except TimeoutError:
                return self._last  # asked again once it has answered
        return self._last

    def close(self, timeout: float) -> None:
        self._threads.close(timeout)

    def _read(self) -> Seen:
        try:
            return Seen(
                cpu_percent=self._process.cpu_percent(),
                memory_mb=round(self._process.memory_info().rss / 2**20, 1),
                disk_free_percent=None if self._disk is None else free_percent(self._disk),
            )
        finally:
            self._is_asked = False


class Vitals:
    """Makes the samples. Belongs to the event loop."""

    def __init__(
        self,
        system: System,
        lag: Lag,
        metrics: Metrics,
        count: Callable[[], Counted],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._system = system
        self._lag = lag
        self._metrics = metrics
        self._count = count
        self._steady = steady
        self._before = self._totals()

    def sample(self, at: float) -> Sample:
        """The time since the last sample; `at` is the Unix time."""
        seen, counted = self._system.look(), self._count()
        then, self._before = self._before, self._totals()
        since, messages, deliveries, commits, commit_seconds, slow = (
            now - before for now, before in zip(self._before, then, strict=True)
        )
        seconds = max(since, 0.001)
        return Sample(
            timestamp=round(at, 3),
            cpu_percent=seen.cpu_percent,
            memory_mb=seen.memory_mb,
            loop_lag_ms=round(self._lag.take() * 1_000, 1),
            connections=counted.connections,
            subscriptions=counted.subscriptions,
            messages_per_second=round(messages / seconds, 1),
            deliveries_per_second=round(deliveries / seconds, 1),
            commit_ms=round(1_000 * commit_seconds / commits, 3) if commits else None,
            waiting=counted.waiting,
            slow_closes=int(slow),
            disk_free_percent=seen.disk_free_percent,
        )

    def close(self, timeout: float) -> None:
        self._lag.close()
        self._system.close(timeout)

    def _totals(self) -> tuple[float, ...]:
        """Time, messages, deliveries, commits and their seconds, slow closes: so far."""
        counted, metrics = self._count(), self._metrics
        return (
            self._steady(),
            counted.messages,
            counted.deliveries,
            sum(metrics.commits),
            metrics.commit_seconds,
            metrics.slow_closes,
        )


def free_percent(directory: Path) -> float | None:
    """How much of a directory's disk is free for us; None: it cannot be said."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:  # the database's own check tells
        return None
    return round(100.0 * usage.free / usage.total, 2) if usage.total else None
