"""Who is let in by now, whatever their tokens say: users and revoked tokens, kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from . import logs
from .errors import DatabaseError, Unauthenticated
from .runtime import Runtime
from .storage.database import ReadFailed
from .storage.registry import Registered, Registry

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 30.0


class Standing(msgspec.Struct, frozen=True):
    """What one state of the database says. `known` is None: everybody who is not disabled."""

    version: int = 0
    known: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()

    def check(self, subject: str, token_id: str | None) -> None:
        """Raises Unauthenticated."""
        if token_id is not None and token_id in self.revoked:
            raise Unauthenticated("The token has been revoked")
        if subject in self.disabled:
            raise Unauthenticated(f"The user {subject!r} is disabled")
        if self.known is not None and subject not in self.known:
            raise Unauthenticated(f"The user {subject!r} is not known here")


class Watch:
    """Looks every half second whether a command has changed something. Owned by the node.

    It has a thread of its own, so that it is in time however busy the readers are.
    """

    def __init__(
        self,
        registry: Registry,
        runtime: Runtime,
        wall: Callable[[], float],
        *,
        known_only: bool,
        changed: Callable[[Standing], None],
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self._registry = registry
        self._wall = wall
        self._known_only = known_only
        self._changed = changed
        self._seconds = seconds
        self._version = 0
        self._is_failing = False
        self._stopped = runtime.event()
        self._thread = runtime.native_threads(1, "registry")
        try:
            changed(self._standing(self._thread.run(self._read, timeout=PATIENCE_SECONDS)))
        except (ReadFailed, TimeoutError) as error:
            raise DatabaseError(f"the users cannot be read: {error}") from None
        self._task = runtime.spawn(self._run)

    def stop(self, timeout: float) -> None:
        self._stopped.set()
        if not self._task.wait(timeout):
            self._task.kill()
        self._thread.close(timeout)
        self._registry.close()

    def look(self) -> None:
        """Tell what is different by now, if something is."""
        try:
            found = self._thread.run(self._read, timeout=PATIENCE_SECONDS)
        except (ReadFailed, TimeoutError) as error:
            if not self._is_failing:  # nobody new is let in or out until it works again
                logs.event(logging.WARNING, "users_not_read", reason=str(error))
            self._is_failing = True
            return
        self._is_failing = False
        if found is not None:
            self._changed(self._standing(found))

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.look()

    def _read(self) -> Registered | None:
        """In the thread: what there is, None when it is what was read before."""
        if self._registry.version() == self._version:
            return None
        found = self._registry.registered(self._wall())
        self._version = found.version
        return found

    def _standing(self, found: Registered | None) -> Standing:
        if found is None:
            return Standing()
        return Standing(
            found.version,
            frozenset(found.users) if self._known_only else None,
            frozenset(found.disabled),
            frozenset(found.revoked),
        )
