"""A connection of a room's user, as the hub sees it."""

from __future__ import annotations

from collections.abc import Callable

from ..identity import Identity
from ..transport.connection import Broadcast, Connection
from ..transport.fanout import Way


class Member:
    """One chat connection: what the hub delivers leaves it in the shape of the chat.

    `deliver` is given every broadcast of the hub, and says what becomes of it.
    """

    def __init__(
        self,
        connection: Connection,
        identity: Identity,
        user: str,
        heard_at: float,
        deliver: Callable[[Member, Broadcast], Way | None],
    ) -> None:
        self.connection_id = connection.connection_id
        self.address = connection.address
        self.identity = identity
        self.user = user
        self.heard_at = heard_at
        self.is_away = False
        self.is_shown_silent = False
        self.rooms: set[str] = set()
        self.typed_at: dict[str, float] = {}
        self.unrecovered: set[str] = set()  # rooms whose next history does not have all of it
        self._deliver = deliver
        self._connection = connection

    @property
    def backlog(self) -> int:
        return self._connection.backlog

    @property
    def stalled_at(self) -> float | None:
        return self._connection.stalled_at

    def send(self, broadcast: Broadcast) -> Way | None:
        return self._deliver(self, broadcast)

    def tell(self, broadcast: Broadcast) -> Way | None:
        """Send an event of the chat; how the next one may leave, as a connection says it."""
        return self._connection.send(broadcast)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return self._connection.wait_drained(timeout, size)

    def close(self, reason: str) -> None:
        self._connection.close(reason)
