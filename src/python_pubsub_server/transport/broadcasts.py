"""Messages as what is sent of them: whole, or only their content on channels with an own event."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec
from msgspec import Raw

from ..channels import MESSAGE, event_of
from ..model import Message
from ..wire import encode
from .connection import Broadcast

MARK = b'"replayed":true}'


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
    return _own(event, messages, 0)


def replayed(messages: Sequence[Message], through: int) -> list[Broadcast]:
    """Messages in their order, those up to a sequence marked as replayed."""
    return [
        _own(event, run, through)
        if event != MESSAGE
        else Broadcast(MESSAGE, [_whole(message, through) for message in run])
        for event, run in groupby(messages, key=lambda message: event_of(message.topic))
    ]


def passing(topic: str, content: bytes) -> Broadcast:
    """Something that another program says on a topic (JSON), and that the log does not have."""
    whole = encode(Passing(topic, None, Raw(content), None, time.time()))
    event = event_of(topic)
    return Broadcast(event, [whole if event == MESSAGE else content], [whole])


def _own(event: str, messages: Iterable[Message], through: int) -> Broadcast:
    sent = list(messages)
    contents = [_content(message, through) for message in sent]
    return Broadcast(event, contents, [_whole(message, through) for message in sent])


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
