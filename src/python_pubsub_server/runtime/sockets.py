"""Plain sockets: listening, and the two ends that wake a loop from outside."""

from __future__ import annotations

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import ListenError

log = logging.getLogger("pubsub")

BACKLOG = 4096


def guarded(function: Callable[..., object], *args: Any) -> None:
    """Call a function whose failure concerns nobody else on the loop; log it."""
    try:
        function(*args)
    except Exception:
        log.exception("uncaught error in %s", getattr(function, "__qualname__", function))


def listen(
    host: str, port: int, backlog: int = BACKLOG, *, is_shared: bool = False
) -> socket.socket:
    """A non-blocking listening socket on an IPv4 or IPv6 address or a host name."""
    listener = bind(host, port, is_shared=is_shared)
    try:
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    listener.setblocking(False)
    return listener


def bind(host: str, port: int, *, is_shared: bool) -> socket.socket:
    """A socket that has an address, shared with others that say so, too. Raises ListenError."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise ListenError(f"cannot listen on {where}: ports are 0 to 65535")
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ListenError(f"cannot listen on {where}: no such address") from error
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {where}: {_reason(error)}") from error
    return listener


def _reason(error: OSError) -> str:
    code = error.errno
    if code == errno.EADDRINUSE:
        return "the port is in use; stop the other program or choose another port"
    if code == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if code in (errno.EACCES, errno.EPERM):
        return "permission denied; ports below 1024 need privileges"
    return error.strerror or str(error)


class Mailbox:
    """Calls from native threads and signal handlers, with one wake-up for many of them.

    Takes no lock, so a signal handler that interrupts `put` may call it too.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._woken = False

    def fileno(self) -> int:
        return self._receiver.fileno()

    def put(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._calls.append((function, args))
        # The loop lowers the flag before it empties the queue: whoever finds it raised has
        # appended in time, and two who find it lowered only cost a second byte.
        if not self._woken:
            self._woken = True
            self._wake()

    def _wake(self) -> None:
        try:
            self._sender.send(b"\0")
        except BlockingIOError:
            log.debug("the loop has been woken already")
        except OSError:
            log.warning("a native thread called a loop that is closed")

    def deliver(self) -> None:
        """On the loop: run what is there now; what these calls put runs in the next turn."""
        self._receiver.recv(4096)
        self._woken = False
        calls = self._calls
        for _ in range(len(calls)):
            function, args = calls.popleft()
            guarded(function, *args)
        if calls and not self._woken:
            self._woken = True
            self._wake()

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()
