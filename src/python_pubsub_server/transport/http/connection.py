"""One client's connection: reads requests, has them answered in their order, writes the answers.

No task while it idles. A route that answers directly needs none at all; the WSGI application runs
in a task of its own for each request.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from . import answers
from .outbox import Outbox
from .requests import Refusal, Request, RequestParser
from .wsgi import Answering

if TYPE_CHECKING:
    from ...runtime import Watch
    from .server import HTTPServer

log = logging.getLogger("pubsub")

RECEIVE_BYTES = 65_536
JOINED_BYTES = 65_536  # of a body that is copied behind its head to be sent with it

# The limits that a request meets before anybody looks at it, by the status of the refusal.
LIMITS = {413: "body_bytes", 414: "target_bytes", 431: "header_bytes"}

TAKE_OVER = "pubsub.take_over"  # the key in a request's environ


class Connection:
    """Belongs to the loop; `answering` is who writes now, and nothing is parsed meanwhile."""

    __slots__ = (
        "_advancing",
        "_begun_at",
        "_discards",
        "_is_closing",
        "_outbox",
        "_parser",
        "_sock",
        "_watch",
        "answering",
        "deadline",
        "server",
        "write_deadline",
    )

    def __init__(self, server: HTTPServer, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.server = server
        self._sock: socket.socket | None = sock
        base = server.environ | {
            "REMOTE_ADDR": address[0],
            "REMOTE_PORT": str(address[1]),
            TAKE_OVER: self.take_over,
        }
        self._parser = RequestParser(base, server.limits, server.max_body)
        self._outbox: Outbox | None = None
        self._watch: Watch | None = None
        self._advancing = False
        self._is_closing = False  # as soon as everything is written
        self._discards: int | None = None  # so much more is read without a look at it
        self.answering: Exchange | None = None
        self._begun_at = 0.0  # when the request began that is not complete yet
        self.deadline = server.now + server.limits.first_seconds
        self.write_deadline = inf
        self._resume()

    # Reading

    def read(self) -> None:
        """Take what has arrived; while a request is being answered, leave it to the kernel."""
        if self.answering is not None or self._outbox is not None:
            self._pause()
            return
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            self.close()
            return
        if not data:
            self.close()
        elif self._discards is not None:
            self._discards -= len(data)
            if self._discards < 0:
                self.close()
        else:
            was_in_request = self._parser.is_in_request
            self._parser.feed(data)
            self._advance()
            if self.answering is None:
                self._await_rest(was_in_request=was_in_request)

    def _await_rest(self, *, was_in_request: bool) -> None:
        """Say how long a request that has begun may take to be complete."""
        parser, limits, now = self._parser, self.server.limits, self.server.now
        if parser.is_in_request and not was_in_request:
            self._begun_at = now
            self.deadline = now + limits.head_seconds
        if parser.is_in_body:
            all_of_it = limits.body_seconds + parser.body_bytes / limits.body_bytes_a_second
            self.deadline = min(now + limits.body_seconds, self._begun_at + all_of_it)

    def _resume(self) -> None:
        if self._watch is None and self._sock is not None:
            self._watch = self.server.runtime.watch_readable(self._sock.fileno(), self.read)

    def _pause(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # Answering

    def _advance(self) -> None:
        """Have the requests that are there answered, one after the other."""
        if self._advancing:
            return
        self._advancing = True
        requests = self._parser.requests
        while requests and self.answering is None and self._outbox is None and not self._is_closing:
            request = requests.popleft()
            if isinstance(request, Refusal):
                self._refuse(request)
            else:
                self._answer(request)
        self._advancing = False
        if self.answering is None and self._outbox is None and self._sock is not None:
            if self._parser.awaits_continue:
                self._parser.awaits_continue = False
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._resume()

    def _answer(self, request: Request) -> None:
        server = self.server
        environ = request.environ
        exchange = self.answering = Exchange(self, request)
        direct = server.direct.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if direct is None:
            self.deadline = inf
            exchange.task = server.runtime.spawn(Answering(exchange, server.app).run)
            return
        self.deadline = server.now + server.limits.answer_seconds
        try:
            direct(environ, exchange.respond)
        except Exception:
            log.exception("uncaught error in a request")
            exchange.fail()

    def end_answer(self, exchange: Exchange, *, keeps_alive: bool) -> None:
        """An answer is written, as far as the connection is concerned: go on, or close."""
        if self.answering is not exchange:
            return
        self.answering = None
        self.deadline = self.server.now + self.server.limits.idle_seconds
        if not keeps_alive or self.server.draining:
            self._close_when_written()
            return
        if exchange.request.ahead:
            self._parser.feed(exchange.request.ahead)
        elif self._watch is not None and self._outbox is None and self._parser.is_idle:
            return  # as nearly always: everything is answered, and the next request awaited
        if not self._advancing:
            self._advance()
            if self.answering is None:
                self._await_rest(was_in_request=False)

    def _refuse(self, refusal: Refusal) -> None:
        limit = LIMITS.get(refusal.status)
        if limit is not None:
            self.server.on_limit(limit)
        self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Say why nothing is answered here any more, and close."""
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
        if refusal.status == 429:
            headers += (("Retry-After", "1"),)
        head = answers.direct_head(refusal.status, headers)
        self.write(
            b"%b%b%bContent-Length: %d\r\n\r\n%b"
            % (head, self.server.stamp, answers.CLOSE, len(refusal.body), refusal.body)
        )
        self._discards = self.server.limits.discard_bytes
        self._close_when_written()

    def take_over(self) -> tuple[socket.socket, bytes]:
        """Let go of the socket, for the request that is being answered; see `http.take_over`."""
        exchange, sock = self.answering, self._sock
        if exchange is None or sock is None:
            raise RuntimeError("only the connection of a request that awaits its answer is there")
        self._pause()
        self._sock = None
        self._forget()
        return sock, exchange.request.ahead or b""

    # Writing

    def write(self, *pieces: bytes) -> None:
        """Send at once what the kernel takes, and the rest when it can."""
        sock = self._sock
        if sock is None:
            return
        if self._outbox is not None:
            self._outbox.add(*pieces)
            return
        try:
            sent = sock.send(pieces[0]) if len(pieces) == 1 else sock.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            self.close()
            return
        if sent != (len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))):
            self._outbox = Outbox(self.server.runtime, sock, self)
            self._outbox.add(*pieces, sent=sent)
            self.progressed()

    def wait_room(self) -> bool:
        """Wait, in a task, until little is unsent; False: the connection is closed."""
        if self._outbox is not None:
            self._outbox.wait_room()
        return self._sock is not None

    def progressed(self) -> None:
        """The client takes what is written."""
        self.write_deadline = self.server.now + self.server.limits.write_seconds

    def emptied(self) -> None:
        """Nothing is unsent any more."""
        self._outbox = None
        self.write_deadline = inf
        if self._is_closing:
            self._close_when_written()
        elif self.answering is None:
            self.deadline = self.server.now + self.server.limits.idle_seconds
            self._advance()

    # The end

    def wind_up(self) -> None:
        """Answer what has arrived, and nothing after it."""
        if self.answering is None and self._outbox is None and not self._is_closing:
            self.read()
            if self.answering is None and not self._parser.is_in_request:
                self._close_when_written()

    def expire(self) -> None:
        """Its time is over."""
        if self._outbox is not None and self.write_deadline > self.server.now:
            return  # slow, but it does take its answer
        if self.answering is not None and self._outbox is None:
            self.answering.give_up()
        elif self._is_closing or self._outbox is not None:
            self.close()
        elif self._parser.is_in_request:
            self.server.on_limit("request_seconds")
            self.refuse(Refusal(408, "The request took too long to arrive"))
        else:
            self.server.on_limit("idle_seconds")
            self.close()

    def _close_when_written(self) -> None:
        self._is_closing = True
        if self._outbox is not None or self._sock is None:
            return
        if self._discards is None:
            self.close()
            return
        # Closed with something unread, it would be reset, and our last words lost with that.
        self.deadline = self.server.now + self.server.limits.discard_seconds
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            self.close()
            return
        self._resume()

    def close(self) -> None:
        self._pause()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._forget()

    def abort(self) -> None:
        """Close it in a way that nobody takes for the end of an answer."""
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def _forget(self) -> None:
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()
        self.answering = None
        self._parser.close()
        self.server.forget(self)


class Exchange:
    """A request and its answer."""

    __slots__ = ("connection", "request", "task")

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.task: Any = None

    @property
    def is_current(self) -> bool:
        """Whether an answer still counts."""
        return self.connection.answering is self

    def keeps_alive(self) -> bool:
        return self.request.keeps_alive and not self.connection.server.draining

    def respond(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """Answer in one go. An answer that comes too late, or a second one, is dropped."""
        if self.connection.answering is self:
            head = answers.direct_head(status, headers)
            self.finish(head, status, body, self.keeps_alive(), len(body))

    def finish(self, head: bytes, status: int, body: bytes, keeps: bool, length: int) -> None:
        """Write a whole answer and let the next request have its turn."""
        connection = self.connection
        end = b"\r\n" if answers.has_no_body(status) else b"Content-Length: %d\r\n\r\n" % length
        head = b"".join((head, connection.server.stamp, self.connection_line(keeps), end))
        if not self.may_have_body(status):
            connection.write(head)
        elif len(body) > JOINED_BYTES:
            connection.write(head, body)
        else:
            connection.write(head + body)
        connection.end_answer(self, keeps_alive=keeps)

    def may_have_body(self, status: int) -> bool:
        return self.request.environ["REQUEST_METHOD"] != "HEAD" and not answers.has_no_body(status)

    def connection_line(self, keeps: bool) -> bytes:
        return answers.connection_line(keeps_alive=keeps, is_http10=self.request.is_http10)

    def fail(self) -> None:
        """Say that the request failed here, without saying why."""
        self._respond_error(500, "The server failed on this request; it is logged")

    def give_up(self) -> None:
        self._respond_error(503, "No answer in time; this may still have an effect later")

    def _respond_error(self, status: int, message: str) -> None:
        if self.is_current:
            body = Refusal(status, message, "unavailable").body
            head = answers.direct_head(
                status, (("Content-Type", "application/json"), ("Retry-After", "1"))
            )
            self.finish(head, status, body, False, len(body))


Direct = Callable[[dict[str, Any], Callable[[int, tuple[tuple[str, str], ...], bytes], None]], None]
