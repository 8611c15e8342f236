"""The event loop by eventlet: its hub, green threads and WSGI protocol."""

from __future__ import annotations

import io
import logging
import socket
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    # Its authors announce its retirement at every import: known, see docs/decisions, and
    # nothing that someone who runs this server can do anything about.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.event
    import eventlet.hubs
    import eventlet.wsgi
    import greenlet
    from eventlet.greenio import GreenSocket

from .http import (
    BAD_REQUEST,
    IDLE_SECONDS,
    TAKE_OVER,
    Exchange,
    HTTPServer,
    is_ambiguous,
    without_body_for_head,
)
from .sockets import BACKLOG, Incoming, Mailbox, guarded, listen
from .threads import NativeThreads

log = logging.getLogger("pubsub")


class _Task:
    __slots__ = ("_thread",)

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def wait(self, timeout: float | None = None) -> bool:
        with eventlet.Timeout(timeout, False):
            try:
                self._thread.wait()
            except greenlet.GreenletExit:
                if not self._thread.dead:
                    raise  # it is the waiting task that is being ended
            return True
        return False

    def kill(self) -> None:
        # Not from here: eventlet's own kill switches to the victim at once.
        eventlet.hubs.get_hub().schedule_call_global(0, self._thread.kill)


class _Event:
    """eventlet's event can be set once only."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = eventlet.event.Event()

    def set(self) -> None:
        if not self._event.ready():
            self._event.send(True)

    def clear(self) -> None:
        if self._event.ready():
            self._event = eventlet.event.Event()

    def is_set(self) -> bool:
        return bool(self._event.ready())

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout) is True


class _Watch:
    """A listener that stays registered with the hub from call to call."""

    __slots__ = ("_function", "_hub", "_listener")

    def __init__(self, evtype: str, fd: int, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function
        self._hub = eventlet.hubs.get_hub()
        self._listener = self._hub.add(evtype, fd, self._ready, self._obsolete, None)
        # Else the hub would keep the task that happened to open the watch.
        self._listener.greenlet = self._hub.greenlet

    def _ready(self, fd: int) -> None:
        # None: closed in this very turn of the hub, by another callback.
        if self._function is not None:
            guarded(self._function)

    def _obsolete(self, *reason: object) -> None:
        log.error("a file descriptor was closed under its watch")

    def close(self) -> None:
        if self._function is not None:
            self._function = None
            self._hub.remove(self._listener)


class EventletRuntime:
    name = "eventlet"

    def __init__(self) -> None:
        self._hub = eventlet.hubs.get_hub()
        self._mailbox = Mailbox()
        self._mail = self.watch_readable(self._mailbox.fileno(), self._mailbox.deliver)

    def spawn(self, function: Callable[..., object], *args: Any) -> _Task:
        return _Task(eventlet.spawn(guarded, function, *args))

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> Any:
        return self._hub.schedule_call_global(seconds, guarded, function, *args)

    def event(self) -> _Event:
        return _Event()

    def native_threads(self, count: int, name: str) -> NativeThreads:
        return NativeThreads(self, count, name)

    def call_from_thread(self, function: Callable[..., object], *args: Any) -> None:
        self._mailbox.put(function, args)

    def watch_readable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(self._hub.READ, fd, function)

    def watch_writable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(self._hub.WRITE, fd, function)

    def listen(self, host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
        return listen(host, port, backlog)

    def serve(self, listener: socket.socket, wsgi_app: Callable[..., Any]) -> HTTPServer:
        server = eventlet.wsgi.Server(
            listener,
            listener.getsockname(),
            without_body_for_head(wsgi_app),
            log_output=False,
            debug=False,
            socket_timeout=IDLE_SECONDS,
            minimum_chunk_size=0,  # else a stream's events wait until there are 4 KiB of them
        )
        server.log = _Log()

        def answer(sock: socket.socket, address: Any, exchange: Exchange) -> None:
            green = GreenSocket(sock)
            green.settimeout(IDLE_SECONDS)
            _Protocol([address, green, eventlet.wsgi.STATE_IDLE], server, exchange)

        return HTTPServer(self, listener, answer)

    def take_over(self, environ: dict[str, Any]) -> tuple[socket.socket, bytes]:
        taken: tuple[socket.socket, bytes] = environ[TAKE_OVER]()
        return taken

    def close(self) -> None:
        self._mail.close()
        self._mailbox.close()


class _Log:
    """What eventlet's WSGI server says, without its access log: only failures are left."""

    def debug(self, text: str, *args: object) -> None:
        log.debug(text, *args)

    def info(self, text: str, *args: object) -> None:
        log.error(text, *args)

    error = info


class _Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """One connection of eventlet's WSGI server, whose socket may be taken over."""

    error_message_format = BAD_REQUEST.decode()
    error_content_type = "application/json"
    default_request_version = "HTTP/1.0"  # else a refusal goes without its status line
    rfile: io.BufferedReader

    def __init__(self, conn_state: list[Any], server: Any, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.handler = self
        super().__init__(conn_state, server)

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self.incoming)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("malformed request: " + format, *args)

    def version_string(self) -> str:
        return "pubsub-server"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(code)  # the message would repeat what the client sent

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if is_ambiguous(self.headers):
            self.send_error(400)
            self.close_connection = True
            return False
        return True

    def handle_one_response(self) -> None:
        self.exchange.begin()
        try:
            super().handle_one_response()
        finally:
            self.exchange.end()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[TAKE_OVER] = self.take_over
        return environ

    def take_over(self) -> tuple[socket.socket, bytes]:
        eventlet.wsgi.WSGI_LOCAL.already_handled = True
        self.incoming.stop()
        ahead = bytes(self.rfile.peek())
        raw = self.exchange.sock
        taken = socket.socket(raw.family, raw.type, raw.proto, fileno=raw.detach())
        taken.setblocking(False)
        return taken, ahead

    def finish(self) -> None:
        """Only what is left to write: whoever accepted the connection closes it."""
        self.wfile.close()
