from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from python_pubsub_server.clock import LogClock

HOUR = 3_600.0


class Time:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self, wall: float = 1_000_000.0) -> None:
        self.wall = wall
        self.steady = 50.0

    def clock(self, not_before: float = 0.0) -> LogClock:
        return LogClock(lambda: self.wall, lambda: self.steady, not_before)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_is_the_time_of_day() -> None:
    time = Time()
    clock = time.clock()
    assert clock.now() == 1_000_000
    time.passes(1.5)
    assert clock.now() == 1_000_001.5


def test_an_hour_back_does_not_stop_or_turn_it() -> None:
    time = Time()
    clock = time.clock()
    before = clock.now()
    time.wall -= HOUR
    assert clock.now() == before
    time.passes(10)
    assert clock.now() == before + 10
    time.passes(2 * HOUR)
    assert clock.now() == before + 10 + 2 * HOUR  # it does not fall behind the wall clock again


def test_it_goes_forward_with_the_wall_clock() -> None:
    time = Time()
    clock = time.clock()
    clock.now()
    time.wall += HOUR
    assert clock.now() == 1_000_000 + HOUR
    time.wall -= HOUR
    time.passes(1)
    assert clock.now() == 1_000_001 + HOUR


def test_a_slow_steady_clock_does_not_hold_it_back() -> None:
    time = Time()
    clock = time.clock()
    clock.now()
    time.wall += 100
    time.steady += 99
    assert clock.now() == 1_000_100


def test_after_a_restart_it_goes_on_behind_the_newest_message() -> None:
    time = Time()
    clock = time.clock(not_before=1_000_000 + HOUR)
    time.passes(5)
    assert clock.now() == 1_000_005 + HOUR
    time.passes(HOUR)
    assert clock.now() == 1_000_005 + 2 * HOUR


def test_an_old_newest_message_does_not_hold_it_back() -> None:
    assert Time().clock(not_before=5.0).now() == 1_000_000


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=30))
def test_it_never_goes_back_and_never_falls_behind(steps: list[tuple[float, float]]) -> None:
    time = Time()
    clock = time.clock()
    last = clock.now()
    for wall, steady in steps:
        time.wall += wall
        time.steady += steady
        now = clock.now()
        assert now >= last
        assert now >= time.wall
        assert now - last >= steady - 1e-6  # a window of seconds never lasts longer than they do
        last = now
