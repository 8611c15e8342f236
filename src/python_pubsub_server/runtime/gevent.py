"""The event loop by gevent: its hub, greenlets and pywsgi."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.pywsgi
import gevent.socket
import greenlet

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

READ, WRITE = 1, 2  # the loop's own constants


class _Task:
    __slots__ = ("_greenlet",)

    def __init__(self, task: Any) -> None:
        self._greenlet = task

    def wait(self, timeout: float | None = None) -> bool:
        self._greenlet.join(timeout)
        return bool(self._greenlet.ready())

    def kill(self) -> None:
        self._greenlet.kill(block=False)


class _Timer:
    __slots__ = ("_timer",)

    def __init__(self, seconds: float, function: Callable[..., object], args: Any) -> None:
        self._timer = gevent.get_hub().loop.timer(max(seconds, 0))
        self._timer.start(self._fire, function, args)

    def _fire(self, function: Callable[..., object], args: Any) -> None:
        self.cancel()
        guarded(function, *args)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


class _Watch:
    __slots__ = ("_watcher",)

    def __init__(self, kind: int, fd: int, function: Callable[[], object]) -> None:
        self._watcher = gevent.get_hub().loop.io(fd, kind)
        self._watcher.start(guarded, function)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


class GeventRuntime:
    name = "gevent"

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self._mail = self.watch_readable(self._mailbox.fileno(), self._mailbox.deliver)

    def spawn(self, function: Callable[..., object], *args: Any) -> _Task:
        return _Task(gevent.spawn(guarded, function, *args))

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> _Timer:
        return _Timer(seconds, function, args)

    def event(self) -> Any:
        return gevent.event.Event()

    def native_threads(self, count: int, name: str) -> NativeThreads:
        return NativeThreads(self, count, name)

    def call_from_thread(self, function: Callable[..., object], *args: Any) -> None:
        self._mailbox.put(function, args)

    def watch_readable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(READ, fd, function)

    def watch_writable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(WRITE, fd, function)

    def listen(self, host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
        return listen(host, port, backlog)

    def serve(self, listener: socket.socket, wsgi_app: Callable[..., Any]) -> HTTPServer:
        server = gevent.pywsgi.WSGIServer(
            listener, without_body_for_head(wsgi_app), log=None, error_log=log
        )
        server.update_environ()

        def answer(sock: socket.socket, address: Any, exchange: Exchange) -> None:
            green = gevent.socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
            green.settimeout(IDLE_SECONDS)
            exchange.sock = green
            _Handler(green, address, server, exchange).handle()

        return HTTPServer(self, listener, answer)

    def take_over(self, environ: dict[str, Any]) -> tuple[socket.socket, bytes]:
        taken: tuple[socket.socket, bytes] = environ[TAKE_OVER]()
        return taken

    def close(self) -> None:
        self._mail.close()
        self._mailbox.close()
        gevent.get_hub().destroy()


class _Handler(gevent.pywsgi.WSGIHandler):  # type: ignore[misc]
    """One connection of pywsgi, whose socket may be taken over."""

    def __init__(self, sock: Any, address: Any, server: Any, exchange: Exchange) -> None:
        self.incoming = Incoming(sock)
        super().__init__(sock, address, server, rfile=io.BufferedReader(self.incoming))
        self.exchange = exchange
        exchange.handler = self
        self.taken = False

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
        self.taken = True
        self.close_connection = True
        self.incoming.stop()
        ahead = bytes(self.rfile.peek())
        raw = self.socket
        taken = socket.socket(raw.family, raw.type, raw.proto, fileno=raw.detach())
        taken.setblocking(False)
        return taken, ahead

    def process_result(self) -> None:
        if not self.taken:
            super().process_result()

    def finalize_headers(self) -> None:
        named = any(name.lower() == b"connection" for name, _ in self.response_headers)
        if self.close_connection and not named:
            self.response_headers.append((b"Connection", b"close"))
        super().finalize_headers()

    def _write_with_headers(self, data: bytes) -> None:
        """Headers and body in one write: apart, the second waits for the client's delayed ACK."""
        self.headers_sent = True
        self.finalize_headers()
        lines = [b"HTTP/1.1 " + self.status]
        lines += [name + b": " + value for name, value in self.response_headers]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if data and self.response_use_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._sendall(head + data)

    def MessageClass(self, *source: Any) -> Any:
        headers = super().MessageClass(*source)
        if is_ambiguous(headers):
            headers.status = "the end of the body is ambiguous"  # pywsgi refuses these
        return headers

    def log_request(self) -> None:
        """No access log."""

    def _log_error(self, kind: Any, error: BaseException, traceback: Any) -> None:
        if not issubclass(kind, greenlet.GreenletExit):
            log.error("uncaught error in a request", exc_info=(kind, error, traceback))

    def _send_error_response_if_possible(self, error_code: int) -> None:
        self.close_connection = True
        if not self.response_length:
            status = "400 Bad Request" if error_code == 400 else "500 Internal Server Error"
            body = BAD_REQUEST if error_code == 400 else b""
            self.start_response(status, [("Content-Type", "application/json")])
            self.result = [body]
            try:
                self.write(body)
            except OSError as error:
                log.debug("cannot tell the client: %s", error)

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        log.debug("malformed request: %s", error)
        head = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BAD_REQUEST)
        return "400", head + BAD_REQUEST
