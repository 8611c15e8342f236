"""What a node measures of itself."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from loops import BACKENDS, PATIENCE, run_on_loop
from python_pubsub_server.metrics import Metrics
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.vitals import (
    LAG_STEP_SECONDS,
    Counted,
    Lag,
    System,
    Vitals,
    free_percent,
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_blocked_loop_shows_as_late(backend: str) -> None:
    def tale(runtime: Runtime) -> tuple[float, float]:
        times = iter([0.0, LAG_STEP_SECONDS + 0.4])  # made; and asked before the timer could fire
        late = Lag(runtime, lambda: next(times))
        worst = late.take()
        late.close()
        ticks = iter([0.0, LAG_STEP_SECONDS + 0.3, 1.0, 1.0, 1.0])
        fired = runtime.event()

        def clock() -> float:
            now = next(ticks, 1.0)
            if now == 1.0:
                fired.set()
            return now

        timed = Lag(runtime, clock)
        assert fired.wait(PATIENCE)
        seen = timed.take()
        timed.close()
        return worst, seen

    worst, seen = run_on_loop(backend, tale)
    assert round(worst, 3) == 0.4
    assert round(seen, 3) == 0.3


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_system_is_asked_in_a_thread(backend: str, tmp_path: Path) -> None:
    def tale(runtime: Runtime) -> None:
        system = System(runtime, tmp_path)
        seen = system.look()
        assert seen.memory_mb > 1
        assert seen.disk_free_percent is not None
        assert 0 <= seen.disk_free_percent <= 100
        system.close(10.0)
        without = System(runtime, None)
        assert without.look().disk_free_percent is None
        without.close(10.0)
        assert not [t for t in threading.enumerate() if t.name.startswith("vitals")]

    run_on_loop(backend, tale)


def test_a_disk_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert free_percent(tmp_path / "nothing") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_is_what_happened_since_the_last_one(backend: str) -> None:
    def tale(runtime: Runtime) -> None:
        now, metrics = [0.0], Metrics()
        counted = [Counted(1, 2, 3, 10, 100)]
        vitals = Vitals(
            System(runtime, None), Lag(runtime), metrics, lambda: counted[0], lambda: now[0]
        )
        now[0], counted[0] = 2.0, Counted(4, 5, 6, 30, 500)
        metrics.committed(0.004)
        metrics.committed(0.002)
        metrics.closed_as_slow()
        sample = vitals.sample(1_000.0004)
        assert (sample.timestamp, sample.commit_ms, sample.slow_closes) == (1_000.0, 3.0, 1)
        assert (sample.messages_per_second, sample.deliveries_per_second) == (10.0, 200.0)
        assert (sample.connections, sample.subscriptions, sample.waiting) == (4, 5, 6)
        now[0] = 3.0
        quiet = vitals.sample(1_001.0)
        assert (quiet.messages_per_second, quiet.commit_ms, quiet.slow_closes) == (0.0, None, 0)
        vitals.close(10.0)

    run_on_loop(backend, tale)
