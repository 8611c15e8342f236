"""Server-Sent Events: a topic's messages as one HTTP response that does not end.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ..runtime import Event, Runtime, Timer, Watch
from .connection import Broadcast
from .http import Outbox, answers, take_over
from .room import has_room

log = logging.getLogger("pubsub")

COMMENT_SECONDS = 15.0
COMMENT = b":\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds until a browser connects again
RECEIVE_BYTES = 4096
UNANSWERED_MILLISECONDS = 60_000  # for the kernel: how long a client may be unreachable
HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Accel-Buffering", "no"),  # or nginx keeps what it gets until it is enough
)


class EventStream:
    """One client, as the hub sees it: owned by the loop, without a task while it idles.

    The response begins with the first event; until then the request can still be refused.
    """

    __slots__ = (
        "_drained",
        "_environ",
        "_headers",
        "_is_closed",
        "_on_closed",
        "_outbox",
        "_server",
        "_sock",
        "_waits_since",
        "_watch",
        "address",
        "connection_id",
        "stalled_at",
    )

    def __init__(
        self, server: EventStreams, environ: dict[str, Any], headers: tuple[tuple[str, str], ...]
    ) -> None:
        self._server = server
        self._environ: dict[str, Any] | None = environ
        self._headers = headers
        self._sock: socket.socket | None = None
        self._watch: Watch | None = None
        self._outbox: Outbox | None = None
        self._drained: Event | None = None
        self._waits_since = 0.0
        self._is_closed = False
        self._on_closed: Callable[[], None] | None = None
        self.connection_id = secrets.token_hex(10)
        self.address = str(environ.get("REMOTE_ADDR", ""))
        self.stalled_at: float | None = None

    @property
    def backlog(self) -> int:
        return 0 if self._outbox is None else self._outbox.unsent

    def send(self, broadcast: Broadcast) -> None:
        if not self._is_closed:
            if self._environ is not None:
                self._begin(self._environ)
            self._write(broadcast.form(self._server.form))

    def comment(self) -> None:
        """Keep proxies from taking it for dead, and see whether the client is."""
        if self._sock is not None and self._outbox is None:
            self._write(COMMENT)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        give_up_at = time.monotonic() + timeout
        while not (self._is_closed or has_room(self.backlog, size, self._server.outbound_bytes)):
            if self._drained is None:
                self._drained = self._server.runtime.event()
            if not self._drained.wait(max(0.0, give_up_at - time.monotonic())):
                return False
        return not self._is_closed

    def close(self, reason: str = "") -> None:
        """End the response; a browser comes again by itself, with the last id it has."""
        if self._is_closed:
            return
        if reason == "slow":
            self.stalled_at = self._waits_since or time.time()
            if self._sock is not None:  # the kernel gives up its buffers at once, too
                linger = struct.pack("ii", 1, 0)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._end()

    def when_closed(self, function: Callable[[], None]) -> None:
        """Have a function called, in a task of its own, once it has ended."""
        self._on_closed = function
        if self._is_closed:
            self._tell_closed()

    def _begin(self, environ: dict[str, Any]) -> None:
        self._environ = None
        try:
            sock, _ = take_over(environ)
        except RuntimeError:  # the client has gone meanwhile
            self._end()
            return
        self._sock = sock
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MILLISECONDS)
        self._server.joined(self)
        self._watch = self._server.runtime.watch_readable(sock.fileno(), self._read)
        head = answers.head("200 OK", (*HEADERS, *self._headers))
        self._write(head + answers.CLOSE + b"\r\n" + RETRY)

    def _write(self, data: bytes) -> None:
        sock = self._sock
        if sock is None:
            return
        if self._outbox is not None:
            self._outbox.add(data)
            if self._outbox.unsent > self._server.outbound_bytes:
                self._server.on_slow(self.connection_id)
                self.close("slow")
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            self._end()
            return
        if sent != len(data):
            self._waits_since = time.time()
            self._outbox = Outbox(self._server.runtime, sock, self)
            self._outbox.add(data, sent=sent)

    def _read(self) -> None:
        """Nothing that a client sends now means anything but its end."""
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("a client went away: %s", error.strerror)
            data = b""
        if not data:
            self._end()

    # As its outbox sees it

    def progressed(self) -> None:
        if self.backlog <= self._server.outbound_bytes // 4:
            self._tell_drained()

    def emptied(self) -> None:
        self._outbox = None
        self._tell_drained()

    # The end

    def _end(self) -> None:
        self._is_closed = True
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._server.left(self)
        self._tell_drained()
        self._tell_closed()

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _tell_closed(self) -> None:
        function, self._on_closed = self._on_closed, None
        if function is not None:
            self._server.runtime.spawn(function)


class EventStreams:
    """All streams of a server: their wire form, and the timer of their comments."""

    def __init__(
        self,
        runtime: Runtime,
        epoch: str,
        *,
        outbound_bytes: int,
        on_slow: Callable[[str], None],
        comment_seconds: float = COMMENT_SECONDS,
    ) -> None:
        self.runtime = runtime
        self.outbound_bytes = outbound_bytes
        self.on_slow = on_slow
        self._comment_seconds = comment_seconds
        self._streams: dict[EventStream, None] = {}
        self._timer: Timer | None = None
        self._epoch = epoch.encode()
        self.form = self._form  # one object, by which broadcasts know the form again

    def __len__(self) -> int:
        return len(self._streams)

    def stream(
        self, environ: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()
    ) -> EventStream:
        """A stream that answers a WSGI request, begun by what is first sent to it."""
        return EventStream(self, environ, headers)

    def joined(self, stream: EventStream) -> None:
        self._streams[stream] = None
        if self._timer is None:
            self._timer = self.runtime.after(self._comment_seconds, self._turn)

    def left(self, stream: EventStream) -> None:
        self._streams.pop(stream, None)

    def comment(self) -> None:
        for stream in list(self._streams):
            stream.comment()

    def close(self, reason: str) -> None:
        """End every stream, and the timer."""
        for stream in list(self._streams):
            stream.close(reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        self.comment()
        if self._streams and self._timer is None:
            self._timer = self.runtime.after(self._comment_seconds, self._turn)

    def _form(self, broadcast: Broadcast) -> bytes:
        name = broadcast.event if broadcast.whole is broadcast.payloads else "message"
        event = name.encode()
        position = POSITIONS.get(name, _no_position)
        return b"".join(
            self._id(position(payload)) + _event(event, payload) for payload in broadcast.whole
        )

    def _id(self, position: int | None) -> bytes:
        return b"" if position is None else b"id: %b:%d\n" % (self._epoch, position)


def _no_position(payload: bytes) -> None:
    pass


def _message_position(payload: bytes) -> int | None:
    """A message's sequence: its last field, `replayed` aside; None: it is not in the log."""
    digits = payload.rpartition(b'"sequence":')[2].partition(b",")[0].rstrip(b"}")
    return None if digits == b"null" else int(digits)


def _subscribed_position(payload: bytes) -> int | None:
    """Where the replay begins that it announces."""
    (topic,) = msgspec.json.decode(payload)["topics"]
    sequence: int = topic["sequence"] - topic["replayed"]
    return sequence


# The sequence behind which a client goes on that got nothing after such an event.
POSITIONS = {"message": _message_position, "subscribed": _subscribed_position}


def _event(event: bytes, payload: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event, _lines(payload))


def _lines(payload: bytes) -> bytes:
    """JSON as it was written may have line breaks, each of which begins a new field here."""
    if b"\n" in payload or b"\r" in payload:
        return b"\ndata: ".join(payload.splitlines())
    return payload
