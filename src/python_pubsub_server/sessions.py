"""Connections that end with their token: when its time is over, or when it stops being good."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from . import logs
from .errors import Forbidden, Invalid, RequestError, TokenExpired
from .identity import Identity
from .runtime import Runtime, Timer

if TYPE_CHECKING:
    from .access import Access

TICK_SECONDS = 1.0
MAX_EMPTY_SECONDS = 1_000


class Session(Protocol):
    """A long-lived connection, as every door has it. Compared by identity."""

    identity: Identity

    def end(self, error: RequestError) -> None:
        """Tell the client why it is disconnected, and do so. Must not wait."""


class Sessions:
    """All connections that a token opened. Belongs to the event loop.

    They are kept by the second in which they end, so one timer serves any number of them.
    """

    def __init__(self, access: Access | None, runtime: Runtime, wall: Callable[[], float]) -> None:
        self._access = access
        self._runtime = runtime
        self._wall = wall
        self._seconds: list[int] = []  # a heap of the keys of `_ending`
        self._ending: dict[int, dict[Session, None]] = {}
        self._watched: dict[Session, int] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, session: Session) -> None:
        """End a session when its identity's time is over; anew when it has another identity."""
        self.forget(session)
        ends_at = session.identity.ends_at
        if ends_at is None:
            return
        second = math.ceil(ends_at)
        if second not in self._ending:
            heapq.heappush(self._seconds, second)
            self._ending[second] = {}
        self._ending[second][session] = None
        self._watched[session] = second
        self._check(session)  # its user may have been disabled while it was opened
        self._schedule()

    def forget(self, session: Session) -> None:
        """A session is over; nothing for one that is not watched."""
        second = self._watched.pop(session, None)
        if second is None:
            return
        del self._ending[second][session]
        if not self._ending[second]:
            del self._ending[second]
            if len(self._seconds) > 2 * len(self._ending) + MAX_EMPTY_SECONDS:
                self._seconds = sorted(self._ending)

    def refresh(self, session: Session, token: str) -> Identity:
        """Go on with a newer token of the same user, and with its rights.

        Raises Unauthenticated, Forbidden; then the session goes on as it was.
        """
        if self._access is None or session.identity.subject is None:
            raise Invalid("This server takes no tokens; there is nothing to refresh")
        identity = self._access.identify(token, session.identity.address)
        if identity.subject != session.identity.subject:
            raise Forbidden("The new token is another user's; connect anew with it")
        session.identity = identity
        self.watch(session)
        return identity

    def recheck(self) -> None:
        """End the sessions of users and tokens that are not let in any more."""
        for session in list(self._watched):
            self._check(session)

    def tick(self) -> None:
        """End those whose second has come."""
        now = self._wall()
        while self._seconds and self._seconds[0] <= now:
            for session in list(self._ending.get(heapq.heappop(self._seconds), ())):
                self._end(session, TokenExpired("The token has expired; connect with a new one"))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watched.clear()

    def _check(self, session: Session) -> None:
        try:
            if self._access is not None:
                self._access.check(session.identity)
        except RequestError as error:
            self._end(session, error)

    def _end(self, session: Session, error: RequestError) -> None:
        self.forget(session)
        logs.event(
            logging.INFO,
            "session_ended",
            subject=session.identity.subject,
            code=error.code,
            reason=error.message,
        )
        session.end(error)

    def _schedule(self) -> None:
        if self._timer is None and self._watched:
            self._timer = self._runtime.after(TICK_SECONDS, self._turn)

    def _turn(self) -> None:
        self._timer = None
        try:
            self.tick()
        finally:
            self._schedule()
