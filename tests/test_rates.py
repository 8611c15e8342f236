from __future__ import annotations

import pytest

from python_pubsub_server.rates import MAX_KEYS, Rates


def test_what_was_never_counted_does_not_happen() -> None:
    assert Rates().rate("a", 1_000.0) == 0


@pytest.mark.parametrize(("number", "interval"), [(1, 0.1), (10, 1.0), (1, 0.01), (200, 2.0)])
def test_a_steady_stream_has_its_rate(number: int, interval: float) -> None:
    rates = Rates()
    now = 1_000.0
    for _ in range(int(100 / interval)):
        now += interval
        rates.count("a", number, now)
    assert rates.rate("a", now) == pytest.approx(number / interval, rel=0.12)


def test_it_decays_when_nothing_happens() -> None:
    rates = Rates()
    rates.count("a", 100, 1_000.0)
    seen = [rates.rate("a", 1_000.0 + seconds) for seconds in (0, 1, 10, 60, 1e9)]
    assert seen[0] == 10
    assert seen == sorted(seen, reverse=True)
    assert seen[-2] < 0.05
    assert seen[-1] == 0


def test_looking_changes_nothing() -> None:
    rates = Rates()
    rates.count("a", 1, 1_000.0)
    assert rates.rate("a", 1_005.0) == rates.rate("a", 1_005.0)
    assert rates.rate("a", 1_000.0) == 0.1


def test_keys_are_counted_apart() -> None:
    rates = Rates()
    rates.count(("publish", "ann", "t"), 10, 1_000.0)
    assert rates.rate(("consume", "ann", "t"), 1_000.0) == 0
    assert rates.rate(("publish", "ann", "t"), 1_000.0) == 1


def test_it_forgets_what_was_not_counted_for_longest() -> None:
    rates = Rates()
    rates.count("old", 1, 1_000.0)
    rates.count("busy", 1, 1_000.0)
    for number in range(MAX_KEYS - 2):
        rates.count(number, 1, 1_000.0)
    rates.count("busy", 1, 1_000.0)
    assert rates.rate("old", 1_000.0) > 0
    rates.count("one more", 1, 1_000.0)
    assert rates.rate("old", 1_000.0) == 0
    assert rates.rate("busy", 1_000.0) == pytest.approx(0.2)
