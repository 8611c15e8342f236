"""A Socket.IO client as the hub sees it, and the wire forms of its namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket

from ..connection import Broadcast
from ..fanout import Way
from ..frames import TEXT, frame

if TYPE_CHECKING:
    from .sockets import Socket


class Forms:
    """What a broadcast and an answer look like in one namespace.

    `frames` and `packets` are made once, so that `Broadcast.form` knows them again. `is_whole`:
    with whole messages, also where an event's payload is only the content.
    """

    __slots__ = ("_acknowledgement", "_event", "disconnect", "frames", "packets")

    def __init__(self, namespace: str, *, is_whole: bool = False) -> None:
        where = "" if namespace == "/" else f"{namespace},"
        self._event = f"42{where}[".encode()
        self._acknowledgement = f"43{where}".encode()
        self.disconnect = f"41{where}".encode()

        def frames(broadcast: Broadcast) -> bytes:
            start = self._start(broadcast.event)
            payloads = broadcast.whole if is_whole else broadcast.payloads
            return b"".join(frame(TEXT, start + each + b"]") for each in payloads)

        def packets(broadcast: Broadcast) -> list[EnginePacket]:
            start = self._start(broadcast.event)
            payloads = broadcast.whole if is_whole else broadcast.payloads
            return [packet(start + each + b"]") for each in payloads]

        self.frames = frames
        self.packets = packets

    def event(self, event: str, payload: bytes) -> bytes:
        return self._start(event) + payload + b"]"

    def acknowledgement(self, ack_id: int, payload: bytes) -> bytes:
        return b"%b%d[%b]" % (self._acknowledgement, ack_id, payload)

    def _start(self, event: str) -> bytes:
        return self._event + msgspec.json.encode(event) + b","


def packet(text: bytes) -> EnginePacket:
    """For a polling client: the same text, as python-engineio queues it."""
    return EnginePacket(MESSAGE, data=text[1:].decode())


class SocketIOConnection:
    """One client on one namespace; all it sends keeps its order, whatever carries it."""

    __slots__ = ("_forms", "_session", "address", "connection_id")

    def __init__(self, session: Socket, forms: Forms, connection_id: str, address: str) -> None:
        self._session = session
        self._forms = forms
        self.connection_id = connection_id
        self.address = address

    @property
    def backlog(self) -> int:
        websocket = self._session.websocket
        return self._session.queued_bytes if websocket is None else websocket.unsent

    @property
    def stalled_at(self) -> float | None:
        return self._session.stalled_at

    def send(self, broadcast: Broadcast) -> Way | None:
        websocket = self._session.websocket
        if websocket is not None:
            websocket.send_frames(broadcast.form(self._forms.frames))
            return Way(self._forms.frames, websocket)
        for each in broadcast.form(self._forms.packets):
            self._session.send(each)
        return None

    def emit(self, event: str, payload: bytes) -> None:
        """Send one event, with one argument that is JSON already."""
        self._send_text(self._forms.event(event, payload))

    def acknowledge(self, ack_id: int, payload: bytes) -> None:
        """Call the callback of an event of the client."""
        self._send_text(self._forms.acknowledgement(ack_id, payload))

    def _send_text(self, text: bytes) -> None:
        websocket = self._session.websocket
        if websocket is not None:
            websocket.send_frames(frame(TEXT, text))
        else:
            self._session.send(packet(text))

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return self._session.wait_drained(timeout, size)

    def close(self, reason: str) -> None:
        self._session.end(reason)

    def dismiss(self, reason: str) -> None:
        """End it for good: official clients come back by themselves only when a socket breaks."""
        self._send_text(self._forms.disconnect)
        self.close(reason)
