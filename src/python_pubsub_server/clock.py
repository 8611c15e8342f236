"""The log's clock: the time of day, except that it never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable


class LogClock:
    """Unix seconds that follow the wall clock forwards and the steady clock when it is set back.

    So a clock that is put back an hour neither reorders timestamps nor stretches the
    deduplication window and the age of messages. Used on the event loop only.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        not_before: float = 0.0,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._last = not_before
        self._last_steady = steady()

    def now(self) -> float:
        steady = self._steady()
        self._last = max(self._wall(), self._last + (steady - self._last_steady))
        self._last_steady = steady
        return self._last
