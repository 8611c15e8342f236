"""How often something happened lately: bounded, decaying counters on the event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import exp

WINDOW_SECONDS = 10.0
MAX_KEYS = 20_000


class Rates:
    """Events a second per key, as an exponentially weighted average over about ten seconds.

    Keeps the 20,000 keys that were counted last.
    """

    def __init__(self) -> None:
        self._rates: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def count(self, key: Hashable, number: int, now: float) -> None:
        self._rates[key] = (self.rate(key, now) + number / WINDOW_SECONDS, now)
        self._rates.move_to_end(key)
        if len(self._rates) > MAX_KEYS:
            self._rates.popitem(last=False)

    def rate(self, key: Hashable, now: float) -> float:
        rate, at = self._rates.get(key, (0.0, now))
        return rate * exp((at - now) / WINDOW_SECONDS)
