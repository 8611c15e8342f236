"""One request answered by a WSGI application (PEP 3333), in a task of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import answers

if TYPE_CHECKING:
    from .connection import Exchange

log = logging.getLogger("pubsub")

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

OURS = frozenset(("content-length", "connection", "transfer-encoding", "date", "keep-alive"))


class Answering:
    """Collects an answer, or passes it on piece by piece while the application makes it."""

    __slots__ = (
        "_app",
        "_code",
        "_exchange",
        "_has_begun",
        "_head",
        "_is_chunked",
        "_keeps",
        "_left",
        "_length",
    )

    def __init__(self, exchange: Exchange, app: WSGIApp) -> None:
        self._exchange = exchange
        self._app = app
        self._code = 0
        self._head: bytes | None = None
        self._keeps = False
        self._length: int | None = None  # as the application says it
        self._has_begun = False  # the head is sent
        self._is_chunked = False
        self._left: int | None = None  # of the length

    def run(self) -> None:
        exchange = self._exchange
        try:
            result = self._app(exchange.request.environ, self.start_response)
            try:
                self._send(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except Exception:
            log.exception("uncaught error in a request")
            self._break_off()
        except BaseException:
            self._break_off()
            raise

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if self._has_begun and exc_info is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._head is not None and exc_info is None:
            raise RuntimeError("the answer has been started already")
        self._code = int(status[:3])
        self._head = answers.head(status, [each for each in headers if each[0].lower() not in OURS])
        self._keeps = self._exchange.keeps_alive()
        self._length = None
        for name, value in headers:
            lowered = name.lower()
            if lowered == "content-length":
                self._length = int(value)
            elif lowered == "connection" and value.lower() == "close":
                self._keeps = False
        return self._write

    def _send(self, result: Iterable[bytes]) -> None:
        exchange = self._exchange
        if not exchange.is_current:
            return  # taken over, or the client has gone
        if isinstance(result, list | tuple) and not self._has_begun:
            self._send_whole(b"".join(result))
            return
        for piece in result:
            if piece:
                self._write(piece)
            if not exchange.is_current:
                return
        if not self._has_begun:
            self._send_whole(b"")
            return
        if self._left:
            raise ValueError(f"the answer is {self._left} bytes shorter than its Content-Length")
        if self._is_chunked:
            exchange.connection.write(b"0\r\n\r\n")
        exchange.connection.end_answer(exchange, keeps_alive=self._keeps)

    def _send_whole(self, body: bytes) -> None:
        exchange = self._exchange
        length = len(body) if self._length is None else self._length
        if length != len(body) and exchange.may_have_body(self._code):
            raise ValueError(f"the answer has {len(body)} bytes and a Content-Length of {length}")
        exchange.finish(self._started(), self._code, body, self._keeps, length)

    def _write(self, piece: bytes) -> None:
        """Pass a piece on; waits while the client does not take it."""
        exchange = self._exchange
        if not exchange.is_current:
            return
        head = b"" if self._has_begun else self._begin()
        if not exchange.may_have_body(self._code):
            piece = b""
        elif self._is_chunked:
            piece = answers.chunk(piece)
        elif self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise ValueError("the answer is longer than its Content-Length")
        exchange.connection.write(head + piece)
        exchange.connection.wait_room()

    def _begin(self) -> bytes:
        """The head of an answer that comes in pieces, and how its end is told."""
        exchange = self._exchange
        head = self._started()
        self._has_begun = True
        end = b"\r\n"
        if answers.has_no_body(self._code):
            pass
        elif self._length is not None:
            end = b"Content-Length: %d\r\n\r\n" % self._length
            self._left = self._length if exchange.may_have_body(self._code) else None
        elif exchange.request.is_http10:
            self._keeps = False
        else:
            self._is_chunked = True
            end = b"Transfer-Encoding: chunked\r\n\r\n"
        return head + exchange.connection.server.stamp + exchange.connection_line(self._keeps) + end

    def _started(self) -> bytes:
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        return self._head

    def _break_off(self) -> None:
        """No good end: an error if nothing is sent yet, else what no client takes for an end."""
        exchange = self._exchange
        if not exchange.is_current:
            return
        if self._has_begun:
            exchange.connection.abort()
        else:
            exchange.fail()
