"""Pings for many connections from one timer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ..runtime import Runtime, Timer, guarded

TICK_SECONDS = 1.0


class Alive(Protocol):
    """What has a pulse. Neither method may wait."""

    def ping(self) -> None: ...

    def expire(self) -> None:
        """It did not answer in time; it is forgotten already."""


class Heartbeat:
    """Pings each member `interval` seconds after it was heard, and gives it `timeout` to answer.

    All intervals are equal, so members are due in the order in which they came: two dicts that
    remember it are all the order there is to keep.
    """

    def __init__(
        self,
        runtime: Runtime,
        interval: float,
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        self._to_ping: dict[Alive, float] = {}
        self._to_answer: dict[Alive, float] = {}
        self._timer: Timer | None = None
        self._stopped = False

    def watch(self, member: Alive) -> None:
        self._to_ping[member] = self._clock() + self._interval
        self._schedule()

    def heard(self, member: Alive) -> None:
        """It answered its ping. An answer nobody asked for changes nothing."""
        if self._to_answer.pop(member, None) is not None:
            self.watch(member)

    def forget(self, member: Alive) -> None:
        self._to_ping.pop(member, None)
        self._to_answer.pop(member, None)

    def tick(self) -> None:
        """Do what is due."""
        now = self._clock()
        for member in _due(self._to_ping, now):
            self._to_answer[member] = now + self._timeout
            guarded(member.ping)
        for member in _due(self._to_answer, now):
            guarded(member.expire)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if self._timer is None and not self._stopped:
            wait = min(TICK_SECONDS, self._interval, self._timeout)
            self._timer = self._runtime.after(wait, self._turn)

    def _turn(self) -> None:
        self._timer = None
        self.tick()
        if self._to_ping or self._to_answer:
            self._schedule()


def _due(members: dict[Alive, float], now: float) -> list[Alive]:
    """Take out those whose time has come; the earliest are at the front."""
    due = []
    for member, at in members.items():
        if at > now:
            break
        due.append(member)
    for member in due:
        del members[member]
    return due
