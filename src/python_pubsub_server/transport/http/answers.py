"""Answers become bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

Headers = Sequence[tuple[str, str]]

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"


@lru_cache(64)
def direct_head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The status line and headers of an answer like others before it; see `head`."""
    return head(f"{status} {HTTPStatus(status).phrase}", headers)


def head(status: str, headers: Headers) -> bytes:
    """The status line and headers, without the empty line. ValueError: not fit to be sent."""
    text = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    if text.count("\n") != len(headers) + 1 or text.count("\r") != len(headers) + 1:
        raise ValueError(f"a line break within the headers of the answer: {text!r}")
    return text.encode("latin-1")


def has_no_body(status: int) -> bool:
    """Whether an answer ends with its headers, whatever they say (RFC 9110 §6.4.1)."""
    return status < 200 or status in (204, 304)


def connection_line(*, keeps_alive: bool, is_http10: bool) -> bytes:
    if not keeps_alive:
        return CLOSE
    return KEEP_ALIVE if is_http10 else b""


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
