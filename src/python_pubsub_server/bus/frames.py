"""The bytes of an announcement: a line of text, then the messages as JSON.

    1 NODE FIRST LAST
    [{"topic": …}, …]

Nothing behind the line: the messages are in the log. A node knows its own by the line alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..model import Message, bytes_of

VERSION = 1
MAX_INLINE_BYTES = 2**18

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Message]).decode


class NotAnAnnouncement(ValueError):
    """What came is not an announcement of this version."""


class Announcement(msgspec.Struct, frozen=True):
    """A node committed these positions."""

    node_id: str
    first: int
    last: int
    messages: Sequence[Message] | None


def inline_size(messages: Sequence[Message]) -> int:
    """About how many bytes messages take in an announcement."""
    return sum(map(bytes_of, messages))


def encode(announcement: Announcement) -> bytes:
    head = f"{VERSION} {announcement.node_id} {announcement.first} {announcement.last}\n".encode()
    return head if announcement.messages is None else head + _encode(announcement.messages)


def is_of(frame: bytes, node_id: str) -> bool:
    return frame.startswith(f"{VERSION} {node_id} ".encode())


def decode(frame: bytes) -> Announcement:
    """Raises NotAnAnnouncement, also for messages that do not fill their positions."""
    head, _, body = frame.partition(b"\n")
    try:
        version, node_id, first_text, last_text = head.decode("ascii").split(" ")
        first, last = int(first_text), int(last_text)
        messages = _decode(body) if body else None
    except (ValueError, msgspec.MsgspecError) as error:
        raise NotAnAnnouncement(str(error)) from error
    if version != str(VERSION) or not 0 < first <= last:
        raise NotAnAnnouncement(f"version {version}, positions {first} to {last}")
    if messages is not None and len(messages) != last - first + 1:
        raise NotAnAnnouncement(f"{len(messages)} messages for positions {first} to {last}")
    return Announcement(node_id, first, last, messages)
