"""Rates: so much in any stretch of time, each holder by itself, and several nodes together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from loops import BACKENDS, PATIENCE, run_on_loop, until
from python_pubsub_server import quota as module
from python_pubsub_server.errors import RateLimited
from python_pubsub_server.quota import Quota, Shared
from python_pubsub_server.runtime import Runtime
from redis_server import RedisServer


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quota(rate: str, clock: Clock) -> Quota:
    return Quota(rate, "messages", clock)


def taken(quota: Quota, holder: str, tries: int) -> int:
    """How many of so many tries are let through."""
    return sum(is_let_through(quota, holder) for _ in range(tries))


def is_let_through(quota: Quota, holder: str, amount: int = 1) -> bool:
    try:
        quota.take(holder, amount)
    except RateLimited:
        return False
    return True


def test_each_holder_has_its_own_share(clock: Clock) -> None:
    some = quota("5/second", clock)
    assert taken(some, "ann", 8) == 5
    assert taken(some, "bob", 3) == 3
    assert taken(some, "ann", 3) == 0


def test_it_is_said_when_to_try_again(clock: Clock) -> None:
    some = quota("10/minute", clock)
    for _ in range(10):
        some.take("ann")
    with pytest.raises(RateLimited) as refused:
        some.take("ann")
    assert refused.value.retry_after is not None
    assert "10/minute" in refused.value.message
    clock.now += refused.value.retry_after - 1
    assert not is_let_through(some, "ann")
    clock.now += 1
    assert is_let_through(some, "ann")


def test_what_is_refused_takes_nothing(clock: Clock) -> None:
    some = quota("10/second", clock)
    assert not is_let_through(some, "ann", 11)
    some.take("ann", 8)
    assert not is_let_through(some, "ann", 3)
    assert is_let_through(some, "ann", 2)


def test_no_stretch_of_time_allows_much_more_than_the_rate(clock: Clock) -> None:
    some = quota("100/second", clock)
    chance = random.Random(1)
    passed: list[float] = []
    for _ in range(20_000):
        clock.now += chance.expovariate(1_000)
        if is_let_through(some, "ann"):
            passed.append(clock.now)
    busiest = max(sum(at <= other < at + 1 for other in passed) for at in passed[::25])
    assert busiest <= 120
    assert len(passed) >= 0.8 * 100 * (clock.now - 1_000_000.0)


def test_a_clock_that_is_set_back_shuts_nobody_out_for_long(clock: Clock) -> None:
    some = quota("5/second", clock)
    taken(some, "ann", 5)
    clock.now -= 3_600
    assert is_let_through(some, "ann")


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOLDERS", 100)
    some = quota("5/second", clock)
    for number in range(1_000):
        some.take(str(number))
    assert len(some) == 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_nodes_count_together_over_redis(
    backend: str, redis_server: RedisServer, clock: Clock
) -> None:
    def see(other: Quota) -> bool:
        """Whether a node knows what another has taken; to hear of it, it must take something."""
        other.take("ann", 0)
        return other._window("ann")[0].count >= 60

    def story(runtime: Runtime) -> None:
        mine, other = quota("100/day", clock), quota("100/day", clock)
        nodes = [
            Shared(redis_server.url, "log", runtime, {"publish": each, "connect": None})
            for each in (mine, other)
        ]
        mine.take("ann", 60)
        until(runtime, lambda: see(other))
        assert taken(other, "ann", 100) == 40
        for node in nodes:
            node.close(PATIENCE)

    run_on_loop(backend, story)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_redis_a_node_counts_alone_and_says_so_once(
    backend: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def story(runtime: Runtime) -> None:
        some = quota("100/second", clock)
        shared = Shared("redis://:hunter2@127.0.0.1:1/0", "log", runtime, {"publish": some})
        for _ in range(2):
            some.take("ann", 40)
            until(runtime, lambda: not shared._is_telling and shared._timer is None)
        assert taken(some, "ann", 50) == 20
        shared.close(PATIENCE)

    run_on_loop(backend, story)
    (line,) = [record for record in caplog.records if "rates_not_shared" in record.getMessage()]
    assert "hunter2" not in line.getMessage()
