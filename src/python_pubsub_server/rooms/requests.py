"""What chat clients may ask for, from JSON text to checked values."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from ..bodies import read_object
from ..errors import Invalid, TooLarge
from ..wire import MAX_INTEGER, check_name
from .names import topic_of

MAX_CONTENT_BYTES = 10_240
DEFAULT_HISTORY = 100

T = TypeVar("T")


class Here(msgspec.Struct, frozen=True):
    """`leave`, `presence`, `typing`."""

    room: str


class Join(msgspec.Struct, frozen=True):
    room: str
    last_seq: int | None = None
    epoch: str | None = None


class History(msgspec.Struct, frozen=True):
    room: str
    since: int | None = None
    before: int | None = None
    limit: int = DEFAULT_HISTORY


class Status(msgspec.Struct, frozen=True):
    status: Literal["online", "away"]


class Talk(msgspec.Struct, frozen=True):
    """A message for a room; with an id of the client's own, it may be sent again."""

    room: str
    content: str
    id: str | None = None


class _Talk(msgspec.Struct, frozen=True):
    data: Talk


def parse_here(body: bytes) -> str:
    """The room. Raises Invalid, as all of these do."""
    room = _decoded(body, Here).room
    topic_of(room)
    return room


def parse_join(body: bytes) -> Join:
    join = _decoded(body, Join)
    topic_of(join.room)
    _check_sequence(join.last_seq, "last_seq")
    return join


def parse_history(body: bytes) -> History:
    history = _decoded(body, History)
    topic_of(history.room)
    _check_sequence(history.since, "since")
    _check_sequence(history.before, "before")
    if history.limit < 1:
        raise Invalid("`limit` must be a whole number from 1 to 100")
    return history


def parse_away(body: bytes) -> bool:
    """Whether a user says that it is away."""
    return _decoded(body, Status).status == "away"


def parse_talk(body: bytes) -> Talk:
    """Raises TooLarge also."""
    talk = _decoded(body, _Talk).data
    topic_of(talk.room)
    if not talk.content.strip():
        raise Invalid("`content` must not be empty")
    size = len(talk.content.encode())
    if size > MAX_CONTENT_BYTES:
        raise TooLarge(f"`content` is {size} bytes long; send {MAX_CONTENT_BYTES} at most")
    if talk.id is not None:
        check_name(talk.id, "id")
    return talk


def _check_sequence(value: int | None, field: str) -> None:
    if value is not None and not 0 <= value <= MAX_INTEGER:
        raise Invalid(f"`{field}` must be a whole number from 0 to {MAX_INTEGER}")


def _decoded(body: bytes, kind: type[T]) -> T:
    return read_object(body, kind, "This is not what the chat understands: {error}")
