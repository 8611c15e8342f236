"""The part of an HTTP server that both loops share: accepting, counting, draining, stopping."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from email.message import Message
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import Event, Runtime, Task, Watch

log = logging.getLogger("pubsub")

TAKE_OVER = "pubsub.take_over"  # the key in a request's environ
IDLE_SECONDS = 75.0  # how long a client may say nothing, in a request or between two
ACCEPT_AT_ONCE = 100  # then the other callbacks of the loop have their turn
ACCEPT_PAUSE = 0.2  # when the process has no file descriptor left
BAD_REQUEST = b'{"status": "error", "code": "invalid", "message": "Malformed HTTP request"}'

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Any]
Answer = Callable[[socket.socket, Any, "Exchange"], None]


def is_ambiguous(headers: Message) -> bool:
    """Whether another server could see the body end elsewhere (RFC 9112 §6.3)."""
    lengths = headers.get_all("content-length", [])
    encodings = headers.get_all("transfer-encoding", [])
    if len(lengths) + len(encodings) > 1:
        return True
    if any(each.strip().lower() != "chunked" for each in encodings):
        return True
    return any(not (each.isascii() and each.strip().isdigit()) for each in lengths)


def without_body_for_head(app: WSGIApp) -> WSGIApp:
    """Neither server drops a body that must not follow the headers."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        result = app(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return result
        if hasattr(result, "close"):
            result.close()
        return []

    return answer


class Exchange:
    """One client's connection as long as the server has it."""

    __slots__ = ("busy", "handler", "server", "sock", "task")

    def __init__(self, server: HTTPServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.busy = False
        self.handler: Any = None
        self.task: Task | None = None

    def begin(self) -> None:
        """A request line has come."""
        self.busy = True
        if self.server.draining:
            self.handler.close_connection = True

    def end(self) -> None:
        """The request is answered."""
        self.busy = False

    def wind_up(self) -> None:
        """Let the request in work, or one that already arrived, be the last one."""
        if self.busy:
            self.handler.close_connection = True
        else:
            # Bytes that have arrived can still be read after this, and then comes an end.
            _shutdown(self.sock, socket.SHUT_RD)


class HTTPServer:
    """Accepts connections and hands each to `answer`, in a task of its own."""

    def __init__(self, runtime: Runtime, listener: socket.socket, answer: Answer) -> None:
        self._runtime = runtime
        self._listener = listener
        self._answer = answer
        self._exchanges: set[Exchange] = set()
        self._accepting: Watch | None = None
        self._stopped = runtime.event()
        self._empty: Event = runtime.event()
        self.draining = False

    def run(self) -> None:
        self._start_accepting()
        self._stopped.wait()

    def stop_accepting(self) -> None:
        self._pause_accepting()
        self._listener.close()

    def drain(self, timeout: float) -> bool:
        self.draining = True
        for exchange in list(self._exchanges):
            exchange.wind_up()
        return not self._exchanges or self._empty.wait(timeout)

    def stop(self) -> None:
        self.stop_accepting()
        self.draining = True
        for exchange in list(self._exchanges):
            _shutdown(exchange.sock, socket.SHUT_RDWR)
            if exchange.task is not None:
                exchange.task.kill()
        self._stopped.set()

    def _start_accepting(self) -> None:
        if self._accepting is None and self._listener.fileno() >= 0:
            self._accepting = self._runtime.watch_readable(self._listener.fileno(), self._accept)

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
                    self._runtime.after(ACCEPT_PAUSE, self._start_accepting)
                    return
                continue  # this client went away before it was accepted
            self._welcome(sock, address)

    def _welcome(self, sock: socket.socket, address: Any) -> None:
        exchange = Exchange(self, sock)
        self._exchanges.add(exchange)
        self._empty.clear()
        exchange.task = self._runtime.spawn(self._converse, exchange, address)

    def _converse(self, exchange: Exchange, address: Any) -> None:
        try:
            self._answer(exchange.sock, address, exchange)
        except TimeoutError:
            log.debug("closing a connection from %s that says nothing", address[0])
        except ConnectionError:
            log.debug("%s went away", address[0])
        finally:
            _shutdown(exchange.sock, socket.SHUT_RDWR)
            exchange.sock.close()
            exchange.handler = None
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._empty.set()


def _shutdown(sock: socket.socket, how: int) -> None:
    if sock.fileno() < 0:
        return  # taken over
    try:
        sock.shutdown(how)
    except OSError as error:
        log.debug("the connection had ended already: %s", error.strerror)
