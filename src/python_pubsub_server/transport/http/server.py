"""An HTTP/1.1 server on the event loop: accepts, keeps time, drains and stops."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from types import MappingProxyType
from typing import Any

from ...runtime import Runtime, Timer, Watch
from .connection import TAKE_OVER, Connection, Direct
from .limits import Limits
from .requests import Environ, MaxBody, Refusal
from .seats import Seats
from .wsgi import WSGIApp

log = logging.getLogger("pubsub")

ACCEPT_AT_ONCE = 8  # then others have their turn: a flood of connections must not be one long turn
ACCEPT_PAUSE = 0.2  # when the process has no file descriptor left

TOO_MANY = "Your address has as many connections open as it may; close some"

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

NO_ROUTES: Mapping[tuple[str, str], Direct] = MappingProxyType({})


class HTTPServer:
    """Serves a WSGI application on one listener.

    `direct` are routes, by method and path, that are called on the loop and must not wait:
    `route(environ, respond)`, and `respond(status, headers, body)` once, then or later.
    `headers` go with every answer. `on_limit` hears the name of each limit that a client meets.
    """

    def __init__(
        self,
        runtime: Runtime,
        listener: socket.socket,
        app: WSGIApp,
        *,
        direct: Mapping[tuple[str, str], Direct] = NO_ROUTES,
        max_body: MaxBody | None = None,
        headers: Sequence[tuple[str, str]] = (),
        limits: Limits | None = None,
        seats: Seats | None = None,
        on_limit: Callable[[str], None] = lambda limit: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runtime = runtime
        self.app = app
        self.direct = direct
        self.limits = limits or Limits()
        self.max_body: MaxBody = max_body or (lambda environ: self.limits.body_bytes)
        self.environ = base_environ(listener)
        self.draining = False
        self.now = 0.0
        self.stamp = b""  # the date and those headers, ready to be sent
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._clock = clock
        self._listener = listener
        self._seats = Seats(None, lambda address: None) if seats is None else seats
        self.on_limit = on_limit
        self._connections: set[Connection] = set()
        self._turned_away: set[Connection] = set()
        self._accepting: Watch | None = None
        self._sweeping: Timer | None = None
        self._stopped = runtime.event()
        self._empty = runtime.event()

    def run(self) -> None:
        """Serve; returns after `stop`."""
        self._sweep_again()
        self._start_accepting()
        self._stopped.wait()

    def stop_accepting(self) -> None:
        """Close the listener; connections that are open go on."""
        self._pause_accepting()
        self._listener.close()

    def drain(self, timeout: float) -> bool:
        """Answer what was asked and close what idles; False: something was left over."""
        self.draining = True
        for connection in list(self._connections):
            connection.wind_up()
        return self.wait_empty(timeout)

    def wait_empty(self, timeout: float) -> bool:
        """Wait until no connection is left; False: there still is one."""
        return not self._connections or self._empty.wait(timeout)

    def stop(self) -> None:
        """Close every connection (not those taken over) and let `run` return."""
        self.stop_accepting()
        self.draining = True
        for connection in list(self._connections):
            exchange = connection.answering
            connection.close()
            if exchange is not None and exchange.task is not None:
                exchange.task.kill()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._stopped.set()

    def forget(self, connection: Connection) -> None:
        """A connection has ended, or is somebody else's from now on."""
        self._connections.discard(connection)
        self._turned_away.discard(connection)
        if not self._connections:
            self._empty.set()

    def sweep(self) -> None:
        """Look at the clock, and end what takes too long."""
        now = self.now = self._clock()
        self.stamp = f"Date: {formatdate(usegmt=True)}\r\n{self._headers}".encode()
        for connection in list(self._connections):
            if connection.deadline <= now or connection.write_deadline <= now:
                connection.expire()

    def _sweep_again(self) -> None:
        self._sweeping = self.runtime.after(self.limits.sweep_seconds, self._sweep_again)
        self.sweep()  # behind it: a sweep that fails must not be the last one

    def _start_accepting(self) -> None:
        if self._accepting is None and self._listener.fileno() >= 0:
            self._accepting = self.runtime.watch_readable(self._listener.fileno(), self._accept)

    def _pause_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.close()
            self._accepting = None

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, address = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    log.error("cannot accept a connection: %s", error.strerror)
                    self._pause_accepting()
                    self.runtime.after(ACCEPT_PAUSE, self._start_accepting)
                    return
                continue  # this client went away before it was accepted
            if self._seats.is_full(address[0]):
                self._turn_away(sock, address)
                continue
            self._empty.clear()
            self._connections.add(Connection(self, self._seats.seat(sock, address[0]), address))

    def _turn_away(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.on_limit("connections")
        if len(self._turned_away) >= self.limits.turned_away:
            sock.close()
            return
        connection = Connection(self, sock, address)
        self._empty.clear()
        self._connections.add(connection)
        self._turned_away.add(connection)
        connection.refuse(Refusal(429, TOO_MANY, "rate_limited"))


def base_environ(listener: socket.socket) -> Environ:
    """What is the same in the environ of every request."""
    host, port = listener.getsockname()[:2]
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def take_over(environ: dict[str, Any]) -> tuple[socket.socket, bytes]:
    """Take the socket of a request: plain, non-blocking, owned by the caller.

    Also what the client sent behind a request for an upgrade; what came behind any other one is
    lost, so that its answer must say `Connection: close`. RuntimeError: the client is gone.

    The application then returns an empty answer without calling `start_response`, or one that is
    ignored; what it writes itself to the socket is all that is sent.
    """

    taken: tuple[socket.socket, bytes] = environ[TAKE_OVER]()
    return taken
