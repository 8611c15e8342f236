"""A plain WebSocket with JSON text frames, as the hub sees it, and all of them as a server does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ..runtime import Event, Runtime
from .connection import Broadcast
from .fanout import Changes, Form, Way
from .frames import PING, TEXT, frame
from .handshake import open_websocket
from .heartbeat import Heartbeat
from .receiver import Message, Receiver
from .websocket import WebSocket

PING_SECONDS = 25.0
PONG_SECONDS = 20.0
OPENING_SECONDS = 60.0
PING_FRAME = frame(PING, b"")
GOING_AWAY = 1001
ABNORMAL = 1006
POLICY_VIOLATION = 1008


def wrapped(broadcast: Broadcast) -> bytes:
    """Frames `{"type": event, "data": payload}`."""
    return _wrapped(broadcast.event, broadcast.payloads)


def wrapped_whole(broadcast: Broadcast) -> bytes:
    """The same with the whole message, also where the payload is only its content."""
    return _wrapped(broadcast.event, broadcast.whole)


def _wrapped(event: str, payloads: Sequence[bytes]) -> bytes:
    start = b'{"type":%b,"data":' % msgspec.json.encode(event)
    return b"".join(frame(TEXT, start + each + b"}") for each in payloads)


def merged(broadcast: Broadcast) -> bytes:
    """Frames `{"type": event, …}` with the fields of the payload, an object that is not empty."""
    start = b'{"type":%b,' % msgspec.json.encode(broadcast.event)
    return b"".join(frame(TEXT, start + each[1:]) for each in broadcast.payloads)


class Listener(Protocol):
    """What becomes of a connection; its methods come in this order, one at a time."""

    def opened(self) -> None:
        """It can be sent to. May wait; nothing is received before it returns."""

    def received(self, message: Message) -> None:
        """The next frame; may wait, and the one after it waits too."""

    def closed(self) -> None:
        """Once, after the last frame; may wait."""


class PlainConnection(Receiver):
    """One client. A broadcast's frames are made once for all connections with the same form."""

    __slots__ = (
        "_form",
        "_listener",
        "_opening",
        "_server",
        "_websocket",
        "address",
        "connection_id",
        "stalled_at",
    )

    def __init__(self, server: PlainWebSockets, form: Form, address: str) -> None:
        self._server = server
        self._form = form
        self._websocket: WebSocket | None = None
        self._listener: Listener | None = None
        self._opening: Event | None = None
        self.connection_id = secrets.token_hex(10)
        self.address = address
        self.stalled_at: float | None = None

    def open(
        self, listener: Listener, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Sequence[bytes]:
        """Answer a WSGI request by becoming its WebSocket, or by an HTTP error."""
        self._listener = listener
        server = self._server
        answer = open_websocket(
            server.runtime,
            environ,
            start_response,
            self,
            max_size=server.max_size,
            outbound_bytes=server.outbound_bytes,
            changes=server.changes,
        )
        if self._websocket is None:
            self._listener = None  # refused; let go of each other
        return answer

    # As the hub sees it

    @property
    def backlog(self) -> int:
        return 0 if self._websocket is None else self._websocket.unsent

    def send(self, broadcast: Broadcast) -> Way | None:
        if self._websocket is None:
            return None
        self._websocket.send_frames(broadcast.form(self._form))
        return Way(self._form, self._websocket)

    def emit(self, event: str, payload: bytes) -> None:
        """Send one event, with one argument that is JSON already."""
        self.send(Broadcast(event, (payload,)))

    def acknowledge(self, ack_id: bytes, payload: bytes) -> None:
        """Answer the frame with that `id` (as JSON) with the fields of an object, not empty."""
        self.send_text(b'{"type":"ack","id":%b,%b' % (ack_id, payload[1:]))

    def send_text(self, text: bytes) -> None:
        if self._websocket is not None:
            self._websocket.send_frames(frame(TEXT, text))

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return self._websocket is not None and self._websocket.wait_drained(timeout, size)

    def close(self, reason: str) -> None:
        if self._websocket is not None:
            if reason == "slow":
                self._remember_stall()
            self._websocket.close(GOING_AWAY, reason)

    def dismiss(self, reason: str) -> None:
        """End it in a way that tells the client not to come back as it was."""
        if self._websocket is not None:
            self._websocket.close(POLICY_VIOLATION, reason)

    # As its heartbeat sees it

    def ping(self) -> None:
        if self._websocket is not None:
            self._websocket.send_frames(PING_FRAME)

    @property
    def is_listening(self) -> bool:
        return self._websocket is not None and self._websocket.is_listening

    def expire(self) -> None:
        if not self.is_listening:
            self._server.heartbeat.watch(self)  # its answer may be among what is not read yet
        else:
            self.cut_off("ping timeout")

    def cut_off(self, reason: str) -> None:
        """End it without a word."""
        if self._websocket is not None:
            self._websocket.abort(ABNORMAL, reason)

    def wait_gone(self, timeout: float) -> bool:
        return self._websocket is None or self._websocket.wait_gone(timeout)

    # As its WebSocket sees it

    def opened(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._server.joined(self)
        assert self._listener is not None
        self._opening = self._server.runtime.event()
        try:
            self._listener.opened()
        finally:
            self._opening.set()
            self._opening = None

    def receive(self, message: Message) -> None:
        if self._listener is not None:
            self._listener.received(message)

    def ponged(self) -> None:
        self._server.heartbeat.heard(self)

    def slow(self) -> None:
        self._remember_stall()
        self._server.on_slow(self.connection_id)

    def closed(self, code: int, reason: str) -> None:
        if self._opening is not None:  # closed from here before it was wholly open
            self._opening.wait(OPENING_SECONDS)
        listener, self._listener = self._listener, None
        try:
            if listener is not None:
                listener.closed()
        finally:
            self._server.left(self)

    def _remember_stall(self) -> None:
        assert self._websocket is not None
        self.stalled_at = self._websocket.stalled_at or time.time()


class PlainWebSockets:
    """All plain connections of a server: pinged by one timer, and told when it stops."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_size: int,
        outbound_bytes: int,
        on_slow: Callable[[str], None],
        ping_interval: float = PING_SECONDS,
        ping_timeout: float = PONG_SECONDS,
    ) -> None:
        self.runtime = runtime
        self.max_size = max_size
        self.outbound_bytes = outbound_bytes
        self.on_slow = on_slow
        self.changes = Changes()
        self.heartbeat = Heartbeat(runtime, ping_interval, ping_timeout)
        self._open: dict[PlainConnection, None] = {}
        self._leaving: list[PlainConnection] = []
        self._all_left: Event | None = None

    def __len__(self) -> int:
        return len(self._open)

    def connection(self, form: Form, address: str) -> PlainConnection:
        """A connection that is still to be opened."""
        return PlainConnection(self, form, address)

    def joined(self, connection: PlainConnection) -> None:
        self._open[connection] = None
        self.heartbeat.watch(connection)

    def left(self, connection: PlainConnection) -> None:
        self._open.pop(connection, None)
        self.heartbeat.forget(connection)
        if not self._open and self._all_left is not None:
            self._all_left.set()

    def say_goodbye(self) -> None:
        """Begin to close every connection."""
        self.heartbeat.stop()
        self._leaving += self._open
        for connection in self._leaving:
            connection.close("server disconnect")

    def shutdown(self, timeout: float) -> bool:
        """Say goodbye to every client; False: some had not answered in time and were cut off."""
        deadline = time.monotonic() + timeout
        in_time = True
        self.say_goodbye()
        for connection in self._leaving:
            if not connection.wait_gone(max(0.0, deadline - time.monotonic())):
                in_time = False
                connection.cut_off("shutdown")
        if self._open:
            self._all_left = self.runtime.event()
            in_time = self._all_left.wait(max(0.1, deadline - time.monotonic())) and in_time
        return in_time
