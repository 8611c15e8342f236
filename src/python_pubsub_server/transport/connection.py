"""The seam between who delivers (the hub) and how bytes leave (one class a protocol)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from .fanout import Way

T = TypeVar("T")


class Broadcast:
    """Payloads of one event, in order, on their way to many connections.

    Each wire form (frames of a protocol and namespace) is made once, however many connections
    of that form there are: `broadcast.form(make)` calls `make(broadcast)` the first time and
    remembers what it returned, by `make` itself.

    `whole` are the messages of an event whose payloads are only their contents; for others it is
    the payloads themselves.
    """

    __slots__ = ("_forms", "event", "payloads", "whole")

    def __init__(
        self, event: str, payloads: Sequence[bytes], whole: Sequence[bytes] | None = None
    ) -> None:
        self.event = event
        self.payloads = payloads
        self.whole = payloads if whole is None else whole
        self._forms: dict[Any, Any] = {}

    def form(self, make: Callable[[Broadcast], T]) -> T:
        made = self._forms.get(make)
        if made is None:
            made = self._forms[make] = make(self)
        return made


class Connection(Protocol):
    """One client on one namespace, whatever carries it.

    Owned by the event loop: every method is called on it and none of them blocks, except
    `wait_drained`, which waits in the calling greenlet only.
    """

    connection_id: str
    address: str

    @property
    def backlog(self) -> int:
        """Bytes that were sent and have not left yet."""

    @property
    def stalled_at(self) -> float | None:
        """Unix time since when a connection that was closed as slow took nothing; else None."""

    def send(self, broadcast: Broadcast) -> Way | None:
        """Put a broadcast behind all that was sent before. On a closed connection: nothing.

        A connection whose unsent bytes would pass its outbound budget is closed as slow. Where
        the next broadcast may leave without a call of this, it says how.
        """

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        """Wait until a replay has room for so many bytes; False: timed out or closed."""

    def close(self, reason: str) -> None:
        """End it; its subscriptions go with the disconnect that follows."""
