"""What members of a room are sent: each event is an object with `data`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from ..model import Message
from ..transport.connection import Broadcast
from ..wire import encode
from .names import room_of


class Said(msgspec.Struct, frozen=True):
    """A message of a room as its members see it."""

    id: str
    room: str
    user: str
    content: str
    sequence: int
    timestamp: float


class User(msgspec.Struct, frozen=True):
    """A user of a room: `online`, `away` or `offline`, and when there was last a sign of life."""

    user: str
    status: str
    last_seen: float


class Stored(msgspec.Struct, frozen=True):
    """A message as the hub delivers it."""

    topic: str
    message_id: str
    message: Raw
    producer: str
    timestamp: float
    sequence: int
    replayed: bool = False


class Content(msgspec.Struct, frozen=True):
    """What a room's message is in the log."""

    content: str


_decode_stored = msgspec.json.Decoder(Stored).decode
_decode_content = msgspec.json.Decoder(Content | str).decode


def stored(broadcast: Broadcast) -> list[Stored]:
    """The messages of a broadcast of the hub."""
    return [_decode_stored(payload) for payload in broadcast.payloads]


def said(message: Message | Stored) -> Said:
    """A stored message, whichever door it came through.

    Its text is its `content`, or the message itself where that is a text; what is neither is
    shown as its JSON, so that no sequence is missing from a room.
    """
    try:
        value = _decode_content(message.message)
    except msgspec.ValidationError:
        content = bytes(message.message).decode()
    else:
        content = value if isinstance(value, str) else value.content
    return Said(
        message.message_id,
        room_of(message.topic),
        message.producer,
        content,
        message.sequence,
        message.timestamp,
    )


def payload(data: object) -> bytes:
    return b'{"data":%b}' % encode(data)


def event(name: str, data: object) -> Broadcast:
    return Broadcast(name, [payload(data)])


def history(room: str, messages: Sequence[Said], *, recovered: bool = True) -> Broadcast:
    data: dict[str, object] = {"room": room, "messages": messages}
    broadcast = event("history", data)
    return broadcast if recovered else unrecovered(broadcast)


def unrecovered(broadcast: Broadcast) -> Broadcast:
    """A history that says that it does not have all that was asked for."""
    return Broadcast(
        broadcast.event, [each[:-2] + b',"recovered":false}}' for each in broadcast.payloads]
    )


def presence(room: str, users: Sequence[User]) -> Broadcast:
    return event("presence", {"room": room, "users": users})
