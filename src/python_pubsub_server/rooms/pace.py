"""Doing something soon, and no more often than it costs."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..runtime import Runtime, Timer


class Pace:
    """Calls `work` soon after each `ask`; calls that come faster than work may be done are one.

    `work` returns for how many seconds it must not be done again.
    """

    def __init__(
        self,
        runtime: Runtime,
        work: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._work = work
        self._clock = clock
        self._not_before = 0.0
        self._timer: Timer | None = None

    def ask(self) -> None:
        if self._timer is None:
            wait = max(0.0, self._not_before - self._clock())
            self._timer = self._runtime.after(wait, self._do)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _do(self) -> None:
        self._timer = None
        self._not_before = self._clock() + self._work()
