"""What a subscriber missed, read a page at a time: the same of every database but for its SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ..model import Message, Page, Stretch, bytes_of
from .sql import Connection, Cursor
from .sql_owed import owed

T = TypeVar("T")

FIRST = 50  # messages that are read to see how large they are


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """A database's statements for pages of its log, and what becomes of their rows.

    A page has `limit` messages and `max_bytes` at most, but one at least. `page` (of a topic) and
    `positioned` give its messages, and how many were found: with one more there is more behind.
    """

    log: str  # of :topic, behind the sequence :after
    unconsumed: str  # of :topic_id, from behind :after to :last, not consumed by :consumer_id
    stretch: str  # of all topics, behind the position :after
    count_unconsumed: str  # as `unconsumed`, up to :limit
    last_position: str  # that the log ever gave
    page: Callable[[Cursor, str], tuple[list[Message], int]]
    positioned: Callable[[Cursor], tuple[list[tuple[int, Message]], int]]


def log_page(
    connection: Connection, pages: Pages, topic: str, after: int, limit: int, max_bytes: int
) -> Page:
    """A topic's messages after a sequence."""

    def read(after: int, limit: int, max_bytes: int) -> tuple[list[Message], int]:
        values = {"topic": topic, "after": after, "limit": limit, "max_bytes": max_bytes}
        return pages.page(connection.execute(pages.log, values), topic)

    messages, is_last = bounded(read, _by_sequence, after, limit, max_bytes)
    return Page(messages, is_last=is_last)


def stretch(
    connection: Connection, pages: Pages, after: int, limit: int, max_bytes: int
) -> Stretch:
    """Every topic's messages after a position."""

    def read(after: int, limit: int, max_bytes: int) -> tuple[list[tuple[int, Message]], int]:
        values = {"after": after, "limit": limit, "max_bytes": max_bytes}
        return pages.positioned(connection.execute(pages.stretch, values))

    messages, is_last = bounded(read, _by_position, after, limit, max_bytes)
    if not is_last:
        return Stretch(messages, messages[-1][0], is_last=False)
    (last,) = connection.execute(pages.last_position).fetchone()
    return Stretch(messages, last, is_last=True)


def unconsumed_page(
    connection: Connection,
    pages: Pages,
    consumer: str,
    topic: str,
    after: int,
    last: int,
    limit: int,
    max_bytes: int,
) -> Page:
    """What a consumer is owed of a topic, after a sequence and up to another."""
    due = owed(connection, consumer, topic)
    if due is None:
        return Page([], is_last=True)
    known = msgspec.structs.asdict(due) | {"last": min(last, due.last)}

    def read(after: int, limit: int, max_bytes: int) -> tuple[list[Message], int]:
        values = known | {"after": after, "limit": limit, "max_bytes": max_bytes}
        return pages.page(connection.execute(pages.unconsumed, values), topic)

    messages, is_last = bounded(read, _by_sequence, max(after, due.after), limit, max_bytes)
    return Page(messages, is_last=is_last)


def count_unconsumed(
    connection: Connection, pages: Pages, consumer: str, topic: str, limit: int
) -> int:
    """How many messages a consumer is owed of a topic; counts to `limit`."""
    due = owed(connection, consumer, topic)
    if due is None:
        return 0
    values = msgspec.structs.asdict(due) | {"limit": limit}
    (count,) = connection.execute(pages.count_unconsumed, values).fetchone()
    return int(count)


def bounded(
    read: Callable[[int, int, int], tuple[list[T], int]],
    place: Callable[[T], tuple[int, Message]],
    after: int,
    limit: int,
    max_bytes: int,
) -> tuple[list[T], bool]:
    """A page, and whether it is the last one, by `read(after, limit, max_bytes)`: one of its `T`s
    at least, and how many it found, with one more if there is more.

    A database looks at all of the `limit` messages to find those that fit. So the first ones say
    how many others like them would fit, and no more than twice as many are looked at.
    """
    start, found = read(after, min(limit, FIRST), max_bytes)
    if len(start) == found or not FIRST == len(start) < limit:
        return start, len(start) == found
    size = sum(bytes_of(place(each)[1]) for each in start)
    left = max_bytes - size
    wanted = min(limit - FIRST, 1 + 2 * FIRST * left // size)
    if wanted < 1:
        return start, False
    more, found = read(place(start[-1])[0], wanted, left)
    if bytes_of(place(more[0])[1]) > left:
        return start, False
    return start + more, len(more) == found


def _by_sequence(message: Message) -> tuple[int, Message]:
    return message.sequence, message


def _by_position(placed: tuple[int, Message]) -> tuple[int, Message]:
    return placed
