"""Rates of each client by itself, and how several nodes count them together."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import limits as library
from limits.storage import RedisStorage

from . import logs
from .bus.redis_link import TIMEOUT_SECONDS, reason_of
from .errors import RateLimited
from .runtime import NativeThreads, Runtime, Timer

MAX_HOLDERS = 100_000  # whose shares are remembered; the one unheard of for longest is forgotten
SHARE_SECONDS = 0.1
ROUNDING = 1e-6


class _Window:
    """What one holder has taken in the stretch of time with this number, and in the one before."""

    __slots__ = ("before", "count", "number", "unshared")

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0
        self.before = 0
        self.unshared = 0


class Quota:
    """A rate that holds for each holder by itself. Belongs to the event loop.

    What was taken in the previous stretch of time fades out during this one, so that no moment
    allows twice the rate.
    """

    def __init__(self, rate: str, what: str, clock: Callable[[], float]) -> None:
        item = library.parse(rate)
        self.rate = rate
        self.seconds: int = item.get_expiry()
        self._amount = item.amount
        self._what = what
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._unshared: dict[str, _Window] | None = None
        self.on_taken: Callable[[], None] = _nothing

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, holder: str, amount: int = 1) -> None:
        """Raises RateLimited, which says when to try again; then nothing was taken."""
        if amount > self._amount:
            raise RateLimited(
                f"{amount} {self._what} at once are more than {self.rate} allows; send fewer",
                retry_after=self.seconds,
            )
        window, passed = self._window(holder)
        if window.before * (1.0 - passed) + window.count + amount > self._amount + ROUNDING:
            wait = self._wait(window, passed, amount)
            raise RateLimited(
                f"More {self._what} than {self.rate}; try again in {wait} seconds",
                retry_after=wait,
            )
        window.count += amount
        if self._unshared is not None:
            window.unshared += amount
            self._unshared[holder] = window
            self.on_taken()

    @property
    def has_unshared(self) -> bool:
        return bool(self._unshared)

    def share(self) -> dict[str, tuple[_Window, int]]:
        """From now on remember what is taken; what was taken since it was last asked."""
        unshared, self._unshared = self._unshared or {}, {}
        shared = {holder: (window, window.unshared) for holder, window in unshared.items()}
        for window in unshared.values():
            window.unshared = 0
        return shared

    def _window(self, holder: str) -> tuple[_Window, float]:
        """A holder's window, and how much of it has passed, from 0 to 1."""
        number, passed = divmod(self._clock() / self.seconds, 1.0)
        window = self._windows.get(holder)
        if window is None or window.number != number:
            fresh = _Window(int(number))
            if window is not None and window.number == number - 1:
                fresh.before = window.count
            self._windows[holder] = window = fresh
            self._windows.move_to_end(holder)
            if len(self._windows) > MAX_HOLDERS:
                self._windows.popitem(last=False)
        return window, passed

    def _wait(self, window: _Window, passed: float, amount: int) -> int:
        """In how many seconds so much fits, if nothing else is taken."""
        room = self._amount - amount
        if window.count <= room:
            until = 1.0 - (room - window.count) / window.before
        else:
            until = 2.0 - room / window.count
        return max(1, math.ceil((until - passed) * self.seconds))


class Shared:
    """Counts of several nodes together: each tells Redis ten times a second what was taken there.

    Nobody waits for Redis: a node decides by what it knows. Without Redis it goes on by its own.
    """

    def __init__(
        self, url: str, log_id: str, runtime: Runtime, quotas: Mapping[str, Quota | None]
    ) -> None:
        self._url = url
        self._runtime = runtime
        self._quotas = {name: quota for name, quota in quotas.items() if quota is not None}
        self._prefix = f"pubsub:{log_id}:rate"
        self._threads: NativeThreads = runtime.native_threads(1, "limits")
        self._storage: RedisStorage | None = None
        self._timer: Timer | None = None
        self._is_telling = False
        self._is_failing = False
        for quota in self._quotas.values():
            quota.share()
            quota.on_taken = self._soon

    def close(self, timeout: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for quota in self._quotas.values():
            quota.on_taken = _nothing
        self._threads.close(timeout)

    def _soon(self) -> None:
        if self._timer is None and not self._is_telling:
            self._timer = self._runtime.after(SHARE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        told = [
            (f"{name}:{quota.seconds}:{window.number}:{holder}", quota.seconds, window, taken)
            for name, quota in self._quotas.items()
            for holder, (window, taken) in quota.share().items()
        ]
        if not told:
            return
        self._is_telling = True

        def heard(totals: Any, error: BaseException | None) -> None:
            self._is_telling = False
            if error is None:
                for (_, _, window, _), total in zip(told, totals, strict=True):
                    window.count = total + window.unshared
            self._note(error)
            if any(quota.has_unshared for quota in self._quotas.values()):
                self._soon()

        self._threads.submit(self._count, told, then=heard)

    def _count(self, told: list[tuple[str, int, _Window, int]]) -> list[int]:
        """In the thread: what all nodes have taken in these windows."""
        if self._storage is None:
            self._storage = RedisStorage(
                self._url,
                key_prefix=self._prefix,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
            )
        return [
            self._storage.incr(key, 2 * seconds, amount=taken) for key, seconds, _, taken in told
        ]

    def _note(self, error: BaseException | None) -> None:
        if error is not None and not self._is_failing:
            logs.event(logging.WARNING, "rates_not_shared", reason=reason_of(error, self._url))
        self._is_failing = error is not None


def _nothing() -> None:
    pass
