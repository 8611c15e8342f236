"""Messages as what is sent of them: whole, or only their content on channels with an own event."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec
from msgspec import Raw

from ..channels import MESSAGE, event_of
from ..model import Message
from ..wire import encode
from .connection import Broadcast

MARK = b'"replayed":true}'
FRAMING = 100  # bytes that a protocol puts around a message, at most


class Passing(msgspec.Struct, frozen=True):
    """What is delivered and not stored: a message whose place in a log is null."""

    topic: str
    message_id: None
    message: Raw
    producer: None
    timestamp: float
    sequence: None = None


def live(event: str, messages: Iterable[Message]) -> Broadcast:
    """Messages that are new, all of one event."""
    if event == MESSAGE:
        return Broadcast(MESSAGE, [encode(message) for message in messages])
    sent = list(messages)
    contents = [_content(message, 0) for message in sent]
    return Broadcast(event, contents, [_whole(message, 0) for message in sent])


def replayed(
    messages: Sequence[Message], through: int, max_bytes: int
) -> list[tuple[Broadcast, int]]:
    """Messages in their order, those up to a sequence marked as replayed.

    In pieces with the bytes that each has on the wire; only one of a single message has more than
    `max_bytes`.
    """
    pieces = []
    for event, run in groupby(messages, key=lambda message: event_of(message.topic)):
        for piece, size in _cut([(each, _whole(each, through)) for each in run], max_bytes):
            whole = [text for _, text in piece]
            if event == MESSAGE:
                broadcast = Broadcast(MESSAGE, whole)
            else:
                broadcast = Broadcast(event, [_content(each, through) for each, _ in piece], whole)
            pieces.append((broadcast, size))
    return pieces


def _cut(
    texts: Sequence[tuple[Message, bytes]], max_bytes: int
) -> Iterator[tuple[Sequence[tuple[Message, bytes]], int]]:
    start = size = 0
    for end, (_, text) in enumerate(texts):
        more = len(text) + FRAMING
        if end > start and size + more > max_bytes:
            yield texts[start:end], size
            start, size = end, 0
        size += more
    yield texts[start:], size


def passing(topic: str, content: bytes) -> Broadcast:
    """Something that another program says on a topic (JSON), and that the log does not have."""
    whole = encode(Passing(topic, None, Raw(content), None, time.time()))
    event = event_of(topic)
    return Broadcast(event, [whole if event == MESSAGE else content], [whole])


def _whole(message: Message, through: int) -> bytes:
    text = encode(message)
    return text[:-1] + b"," + MARK if message.sequence <= through else text


def _content(message: Message, through: int) -> bytes:
    """A message's JSON as it was published. Of what was replayed an object says so."""
    text = bytes(message.message)
    if message.sequence > through or text[:1] != b"{" or b'"replayed"' in text:
        return text
    start = text.rstrip()[:-1].rstrip()
    return start + (MARK if start == b"{" else b"," + MARK)
