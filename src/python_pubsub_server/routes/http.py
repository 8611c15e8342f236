"""A request and its answer, without a framework: what every route takes and gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from ..errors import Invalid, MethodNotAllowed, RequestError, TooLarge, UnsupportedMedia
from ..identity import Identity
from ..wire import check_name, check_topic, encode

JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_LIMIT = 1_000
NO_CONTENT = 204


class Response(msgspec.Struct, frozen=True):
    """An answer: bytes are sent as they are, `headers` beside the content type."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Those that are sent, but the length; what has no content has no type either."""
        if self.status == NO_CONTENT:
            return self.headers
        return (("Content-Type", self.content_type), *self.headers)


class Request:
    """An HTTP request, read from its WSGI environment when a route asks."""

    __slots__ = ("environ", "identity", "path")

    def __init__(
        self, environ: dict[str, Any], identity: Identity, path: Mapping[str, str]
    ) -> None:
        self.environ = environ
        self.identity = identity
        self.path = path

    def header(self, name: str) -> str:
        """A header's value, "" when it was not sent."""
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    @property
    def content_type(self) -> str:
        value = str(self.environ.get("CONTENT_TYPE") or "")
        return value if value == JSON else value.partition(";")[0].strip().lower()

    def body(self, max_bytes: int) -> bytes:
        """The whole body. Raises TooLarge, before it is read where its length is announced."""
        refusal = TooLarge(f"The body is too large; this route takes {max_bytes} bytes at most")
        length = self.environ.get("CONTENT_LENGTH")
        if length:
            if not length.isascii() or not length.isdigit():
                raise Invalid("Content-Length must be a number")
            if len(length) > 18 or int(length) > max_bytes:
                raise refusal
        body: bytes = self.environ["wsgi.input"].read(int(length) if length else max_bytes + 1)
        if len(body) > max_bytes:
            raise refusal
        if length and len(body) < int(length):
            raise Invalid("The body ended before its Content-Length")
        return body

    def json_body(self, max_bytes: int, *also: str) -> bytes:
        """A body that says to be JSON (or one of the other types), or says nothing."""
        if self.content_type not in ("", JSON, *also):
            wanted = " or ".join((JSON, *also))
            raise UnsupportedMedia(
                f"Send the body as {wanted}, not {self.content_type!r}: "
                f"curl -H 'Content-Type: {JSON}'"
            )
        return self.body(max_bytes)

    def query(self, *names: str) -> dict[str, str]:
        """The query's parameters, each at most once. Raises Invalid for any that has no meaning."""
        try:
            pairs = parse_qsl(
                self.environ.get("QUERY_STRING", ""),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=50,
            )
        except ValueError as error:
            raise Invalid(f"The query cannot be read: {error}") from None
        values: dict[str, str] = {}
        for name, value in pairs:
            if name not in names:
                known = ", ".join(names) or "none"
                raise Invalid(f"Unknown parameter {name[:100]!r}; this route knows: {known}")
            if name in values:
                raise Invalid(f"The parameter {name!r} is given twice")
            values[name] = value
        return values


Route = Callable[[Any, Request], Response]
Respond = Callable[[Response], None]
DirectRoute = Callable[[Any, Request, Respond], None]  # must not wait; responds once, now or later


def json_response(value: object, *headers: tuple[str, str], status: int = 200) -> Response:
    return Response(encode(value), status=status, headers=headers)


def error_response(error: RequestError) -> Response:
    headers: tuple[tuple[str, str], ...] = ()
    if error.retry_after is not None:
        headers = (("Retry-After", str(error.retry_after)),)
    elif isinstance(error, MethodNotAllowed):
        headers = (("Allow", error.allowed),)
    elif error.status == 401:
        headers = (("WWW-Authenticate", "Bearer"),)  # RFC 9110 §11.6.1
    return Response(encode(error.body()), status=error.status, headers=headers)


def refused(node: Any, error: RequestError) -> Response:
    """An error as a response, counted."""
    node.metrics.refused("http", error.code)
    return error_response(error)


def limit_of(query: Mapping[str, str], default: int = 100) -> int:
    """`limit`: how many to return, at most 1,000; more is taken as 1,000."""
    return min(number_of(query, "limit", default, minimum=1), MAX_LIMIT)


def number_of(query: Mapping[str, str], name: str, default: int, *, minimum: int = 0) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < minimum:
        raise Invalid(f"`{name}` must be a whole number from {minimum}")
    return int(text)


def cursor_of(query: Mapping[str, str]) -> int | None:
    """`before`: where a page of a list goes on, None at its start."""
    return number_of(query, "before", 0, minimum=1) if "before" in query else None


def listing(
    path: str, query: Mapping[str, str], limit: int, found: Sequence[tuple[int, object]]
) -> Response:
    """A page of a list, of which one row more was looked for; a link to the rest (RFC 8288)."""
    rows = [row for _, row in found[:limit]]
    if len(found) <= limit:
        return json_response(rows)
    cursor = urlencode({**query, "before": str(found[limit - 1][0])})
    return json_response(rows, ("Link", f'<{path}?{cursor}>; rel="next"'))


def seconds_of(query: Mapping[str, str], name: str, *, at_most: float) -> float:
    """A duration, 0 when it was not given; more than `at_most` is taken as that."""
    text = query.get(name, "0")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise Invalid(f"`{name}` must be a number of seconds, like 30")
    return min(float(text), at_most)


def name_of(query: Mapping[str, str], name: str) -> str | None:
    """A name to look for, None when it was not given."""
    text = query.get(name)
    return None if text is None else check_name(text, name)


def topic_of(request: Request) -> str:
    """The topic in a route's path."""
    return check_topic(check_name(request.path["topic"], "topic"), "topic")
