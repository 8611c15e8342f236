"""What the kernel did not take at once, for a client that reads slowly."""

from __future__ import annotations

import logging
import socket
from collections import deque
from itertools import islice
from typing import Protocol

from ...runtime import Event, Runtime

log = logging.getLogger("pubsub")

ROOM_BYTES = 262_144  # whoever writes piece by piece waits while more than this is unsent
PIECES_AT_ONCE = 64  # buffers in one system call; the kernel takes up to 1024


class Owner(Protocol):
    def progressed(self) -> None: ...
    def emptied(self) -> None: ...
    def close(self) -> None: ...


class Outbox:
    """Exists while something is unsent; then it tells its owner and is done."""

    __slots__ = ("_owner", "_pieces", "_room", "_runtime", "_sock", "_unsent", "_watch")

    def __init__(self, runtime: Runtime, sock: socket.socket, owner: Owner) -> None:
        self._runtime = runtime
        self._sock = sock
        self._owner = owner
        self._pieces: deque[memoryview] = deque()
        self._unsent = 0
        self._room: Event | None = None
        self._watch = runtime.watch_writable(sock.fileno(), self._flush)

    def add(self, *pieces: bytes, sent: int = 0) -> None:
        """Put pieces behind the others; the first bytes of them are sent already."""
        self._pieces.extend(memoryview(piece) for piece in pieces if piece)
        self._unsent += sum(map(len, pieces))
        self._drop(sent)

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._unsent

    def wait_room(self) -> None:
        if self._unsent > ROOM_BYTES:
            if self._room is None:
                self._room = self._runtime.event()
            self._room.wait()

    def close(self) -> None:
        """Give up what is unsent; whoever waits for room goes on."""
        self._watch.close()
        self._pieces.clear()
        self._unsent = 0
        self._tell_room()

    def _flush(self) -> None:
        try:
            sent = self._sock.sendmsg(islice(self._pieces, PIECES_AT_ONCE))
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            self._owner.close()
            return
        self._drop(sent)
        self._owner.progressed()
        if self._unsent <= ROOM_BYTES:
            self._tell_room()
        if not self._pieces:
            self._watch.close()
            self._owner.emptied()

    def _drop(self, sent: int) -> None:
        self._unsent -= sent
        while sent:
            piece = self._pieces.popleft()
            if len(piece) > sent:
                self._pieces.appendleft(piece[sent:])
            sent -= min(sent, len(piece))

    def _tell_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None
