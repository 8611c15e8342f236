"""The Socket.IO packet codec: event arguments stay JSON text, and no packet of a client can
make python-socketio raise, answer by itself, or call a handler that is not an event's."""

from __future__ import annotations

from typing import Any

import msgspec
import socketio.packet
from msgspec import Raw

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

MALFORMED = "$malformed"
BINARY = "$binary"
RESERVED = ("connect", "disconnect", "*")  # python-socketio would call the handlers of these

_decode_raw = msgspec.json.Decoder(Raw).decode


class JSONText:
    """What python-socketio gets as its JSON module: text that comes in is left as it is."""

    @staticmethod
    def loads(text: str) -> str:
        return text

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()


class Packet(socketio.packet.Packet):  # type: ignore[misc]
    """Events have the data `[name, *arguments: Raw, acknowledgement id: int | None]`.

    A malformed event is named `$malformed`, one with binary attachments `$binary`; its one
    argument is a JSON string that says what is wrong.
    """

    json = JSONText
    packet_type: int
    data: Any
    id: int | None
    attachment_count: int

    def decode(self, encoded_packet: str) -> int:
        if not isinstance(encoded_packet, str):
            raise ValueError("a binary message that no packet announced")
        attachments: int = super().decode(encoded_packet)
        text, self.data = self.data, None
        if self.packet_type == BINARY_EVENT and not attachments:
            self.packet_type = EVENT
        if self.packet_type == EVENT:
            self._set_event(*_event(text))
        elif self.packet_type == ACK:
            self.data = _decoded(text, list) or []
        elif self.packet_type == CONNECT:
            self.data = _decoded(text, dict)
        return attachments

    def add_attachment(self, attachment: bytes | str) -> bool:
        """Count the attachments of a packet and keep none."""
        if isinstance(attachment, str):
            raise ValueError("text where a binary attachment was announced")
        self.attachment_count -= 1
        if self.attachment_count:
            return False
        if self.packet_type == BINARY_EVENT:
            self._set_event(BINARY, [_explained("binary data is not JSON")])
        else:
            self.data = []
        return True

    def _set_event(self, name: str, arguments: list[Raw]) -> None:
        # Without its id python-socketio acknowledges nothing: that is done on commit.
        self.data = [name, *arguments, self.id]
        self.id = None


def json_value(text: str) -> Raw | None:
    """A text, if it is one JSON value."""
    try:
        return _decode_raw(text)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _event(text: str | None) -> tuple[str, list[Raw]]:
    try:
        name, *arguments = msgspec.json.decode(text or "", type=list[Raw])
        event = msgspec.json.decode(name, type=str)
    except msgspec.MsgspecError as error:
        return MALFORMED, [_explained(f"malformed event: {error}")]
    except RecursionError:
        return MALFORMED, [_explained("malformed event: the JSON is nested too deep")]
    except ValueError:
        return MALFORMED, [_explained("an event needs a name")]
    if event in RESERVED or event.startswith("$"):
        return MALFORMED, [_explained(f"the event name {event!r} is reserved")]
    return event, arguments


def _explained(text: str) -> Raw:
    return Raw(msgspec.json.encode(text))


def _decoded(text: str | None, kind: type[Any]) -> Any:
    """The JSON value, if it is one of that kind."""
    try:
        return msgspec.json.decode(text or "null", type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None
