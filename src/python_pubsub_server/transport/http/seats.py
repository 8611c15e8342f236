"""How many connections each client has open, until their sockets are closed, whoever does that."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable


class Seats:
    """So many sockets for each holder. `holder_at(address)` says who that is; None: not counted."""

    def __init__(self, limit: int | None, holder_at: Callable[[str], str | None]) -> None:
        self._limit = limit
        self._holder_at = holder_at
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many holders there are."""
        return len(self._taken)

    def is_full(self, address: str) -> bool:
        """Whether who is at an address has all that it may have."""
        if self._limit is None:
            return False
        holder = self._holder_at(address)
        return holder is not None and self._taken[holder] >= self._limit

    def seat(self, sock: socket.socket, address: str) -> socket.socket:
        """The socket, counted from now on until it is closed; the one that was given is empty."""
        holder = None if self._limit is None else self._holder_at(address)
        if holder is None:
            return sock
        self._taken[holder] += 1
        return _Seated(sock, lambda: self._leave(holder))

    def _leave(self, holder: str) -> None:
        self._taken[holder] -= 1
        if not self._taken[holder]:
            del self._taken[holder]


class _Seated(socket.socket):
    """A socket that says when it is closed."""

    __slots__ = ("_on_close",)

    def __init__(self, sock: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.setblocking(False)
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
