"""Bytes become requests: an HTTP/1.1 parser without I/O, strict where readers could disagree."""

from __future__ import annotations

import io
import logging
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from .limits import Limits

log = logging.getLogger("pubsub")

Environ = dict[str, Any]
MaxBody = Callable[[Environ], int]

# What may be there once only: two readers that pick different ones see different requests.
SINGLE = frozenset(("HTTP_HOST", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"))


HEADERS_TOO_LARGE = "The request's headers are too large"
MAX_NAME = 256  # of a header; they are remembered


class Refusal(Exception):
    """A request that is not given to the application; its connection ends with the answer."""

    def __init__(self, status: int, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.status = status
        self.body = msgspec.json.encode({"status": "error", "code": code, "message": message})


class Request:
    """A whole request, its body included."""

    __slots__ = ("ahead", "environ", "is_http10", "keeps_alive")

    def __init__(self, environ: Environ, *, keeps_alive: bool, is_http10: bool) -> None:
        self.environ = environ
        self.keeps_alive = keeps_alive
        self.is_http10 = is_http10
        self.ahead: bytes | None = None  # of an upgrade: what came behind it, not parsed


class RequestParser:
    """`feed` it; complete requests, or a refusal as the last one, come out at `requests`.

    `base` is what every environ of the connection begins with; `max_body` says how long the body
    of a request may be, by its environ.
    """

    def __init__(self, base: Environ, limits: Limits, max_body: MaxBody) -> None:
        self.requests: deque[Request | Refusal] = deque()
        self.is_over = False  # nothing that is fed from here on counts
        self.awaits_continue = False
        self._base = base
        self._limits = limits
        self._max_body = max_body
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._cause: Refusal | None = None  # why a callback stopped the C parser
        self._silent = 0  # bytes since something was got out of them
        self._environ: Environ | None = None
        self._in_body = False
        self._is_upgrade = False
        self._is_replay = False
        self._is_http10 = False
        self._keeps_alive = False
        self._begin()

    @property
    def is_in_request(self) -> bool:
        """Whether a part of a request is there."""
        return self._silent > 0 or self._in_body

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was fed is still to be dealt with."""
        return not self.requests and not self._silent and not self._in_body

    @property
    def is_in_body(self) -> bool:
        return self._in_body

    @property
    def body_bytes(self) -> int:
        """How much of the body is there."""
        return self._length

    def feed(self, data: bytes) -> None:
        """Read on. Behind a request for an upgrade everything is kept in its `ahead`."""
        if self.is_over or self._parser is None:
            return
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._leave_http(data[upgrade.args[0] :])
        except HttpParserCallbackError:
            if self._cause is None:
                log.exception("uncaught error in a request")
                self._cause = Refusal(500, "The server failed on this request", "unavailable")
            self._refuse(self._cause)
        except HttpParserError as error:
            if not self.is_over:
                self._refuse(Refusal(400, f"Malformed HTTP request: {error}"))
        if self._silent > self._limits.head_bytes and not self.is_over:
            self._refuse(Refusal(431, HEADERS_TOO_LARGE))

    def close(self) -> None:
        """Let go of all that holds the connection, so that it ends without a collection."""
        self.is_over = True
        self._parser = None
        self._base = {}
        self._environ = None
        self.requests.clear()

    def _because(self, status: int, message: str, code: str = "invalid") -> Refusal:
        self._cause = Refusal(status, message, code)
        return self._cause

    def _refuse(self, refusal: Refusal) -> None:
        self.is_over = True
        self._in_body = False
        self._pieces.clear()
        self.requests.append(refusal)

    def _begin(self) -> None:
        self._url = b""
        self._fields = 0
        self._size = 0
        self._pieces: list[bytes] = []
        self._length = 0
        self._limit = 0

    # What the C parser calls

    def on_url(self, url: bytes) -> None:
        if not self._is_replay:
            self._silent = self._silent or 1  # another request's end may be in the same bytes
            self._url += url
            if len(self._url) > self._limits.target_bytes:
                raise self._because(414, "The request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_replay or self._in_body:
            return  # trailers are nothing that an application is told
        environ = self._environ
        limits = self._limits
        if environ is None:
            environ = self._environ = self._base.copy()
        self._fields += 1
        self._size += len(name) + len(value) + 4
        if self._fields > limits.headers or self._size > limits.head_bytes or len(name) > MAX_NAME:
            raise self._because(431, HEADERS_TOO_LARGE)
        key = key_of(name)
        if key is None:
            return
        text = value.strip().decode("latin-1")
        if key in environ:
            if key in SINGLE:
                raise self._because(400, f"{name.decode('latin-1')} is there twice")
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text

    def on_headers_complete(self) -> None:
        if self._is_replay:
            return
        environ = self._environ
        if environ is None:
            environ = self._environ = self._base.copy()
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise self._because(505, "This server speaks HTTP/1.1")
        self._is_http10 = version == "1.0"
        self._keeps_alive = parser.should_keep_alive()
        environ["SERVER_PROTOCOL"] = "HTTP/1.0" if self._is_http10 else "HTTP/1.1"
        method = environ["REQUEST_METHOD"] = parser.get_method().decode()
        if method == "CONNECT":
            raise self._because(400, "This server is no proxy")
        problem = set_target(environ, self._url)
        if problem:
            raise self._because(400, problem)
        if not self._is_http10 and "HTTP_HOST" not in environ:
            raise self._because(400, "Missing header: Host")
        self._announce_body(environ)
        self._is_upgrade = parser.should_upgrade()

    def _announce_body(self, environ: Environ) -> None:
        length = environ.get("CONTENT_LENGTH")
        encoding = environ.get("HTTP_TRANSFER_ENCODING")
        if encoding is not None and (encoding.lower() != "chunked" or self._is_http10):
            raise self._because(400, "Transfer-Encoding must be chunked")
        if length is None and encoding is None:
            return
        if length is not None and not length.isdigit():
            raise self._because(400, "Content-Length must be a number")
        self._in_body = True
        self._limit = self._max_body(environ)
        if length is not None and int(length) > self._limit:
            raise self._because(413, too_large(self._limit), "too_large")
        if "HTTP_EXPECT" in environ and length != "0":
            self.awaits_continue = (
                environ["HTTP_EXPECT"].lower() == "100-continue" and not self._is_http10
            )

    def on_body(self, piece: bytes) -> None:
        self._silent = 0
        self.awaits_continue = False
        self._length += len(piece)
        if self._length > self._limit:
            raise self._because(413, too_large(self._limit), "too_large")
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        environ = self._environ
        if environ is None or (self._is_upgrade and not self._leaves_http()):
            return  # a body may follow all the same: see `_leave_http`
        pieces = self._pieces
        environ["wsgi.input"] = io.BytesIO(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if "HTTP_TRANSFER_ENCODING" in environ:
            del environ["HTTP_TRANSFER_ENCODING"]  # it is undone
            environ["CONTENT_LENGTH"] = str(self._length)
        self.requests.append(
            Request(environ, keeps_alive=self._keeps_alive, is_http10=self._is_http10)
        )
        self.is_over = not self._keeps_alive and not self._is_upgrade
        self._environ = None
        self._in_body = self.awaits_continue = False
        self._silent = 0
        self._begin()

    # Upgrades

    def _leaves_http(self) -> bool:
        """Whether the request is for a WebSocket; every other upgrade is declined."""
        environ = self._environ
        return (
            environ is not None
            and environ["REQUEST_METHOD"] == "GET"
            and "websocket" in environ.get("HTTP_UPGRADE", "").lower()
            and not self._in_body
        )

    def _leave_http(self, rest: bytes) -> None:
        """The C parser skips the body of any upgrade: give it back to those that we decline."""
        self._is_upgrade = False
        environ = self._environ
        if environ is None:
            request = self.requests[-1]
            assert isinstance(request, Request)
            request.ahead = rest
            return
        head = b"POST / HTTP/1.1\r\n"
        if "CONTENT_LENGTH" in environ:
            head += b"Content-Length: %b\r\n" % environ["CONTENT_LENGTH"].encode()
        if "HTTP_TRANSFER_ENCODING" in environ:
            head += b"Transfer-Encoding: chunked\r\n"
        if not self._keeps_alive:
            head += b"Connection: close\r\n"
        self._parser = HttpRequestParser(self)
        self._is_replay = True
        self._parser.feed_data(head + b"\r\n")
        self._is_replay = False
        self._silent = 0
        if rest:
            self.feed(rest)


def too_large(limit: int) -> str:
    return f"The body is too large; this route takes {limit} bytes at most"


def set_target(environ: Environ, target: bytes) -> str | None:
    """The path, decoded into Latin-1 as WSGI wants it, and the query; or what is wrong with it."""
    if target[:1] != b"/" and target != b"*":
        # An absolute URL, whose authority stands for the Host (RFC 9112 §3.2.2).
        scheme, _, rest = target.partition(b"://")
        authority, _, path = rest.partition(b"/")
        if scheme.lower() not in (b"http", b"https") or not authority or b"?" in authority:
            return "Malformed HTTP request: the target is no path"
        environ["HTTP_HOST"] = authority.decode("latin-1")
        target = b"/" + path
    if b"#" in target or not target.isascii():
        return "Malformed HTTP request: the target has a forbidden character"
    path, _, query = target.partition(b"?")
    environ["RAW_URI"] = target.decode("ascii")
    environ["QUERY_STRING"] = query.decode("ascii")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    return None


@lru_cache(512)
def key_of(name: bytes) -> str | None:
    """Where a header goes in the environ. Not those that could pass for another (`X_Forwarded`)."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return sys.intern(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
