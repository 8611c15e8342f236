"""What a subscriber missed, read a page at a time: the same of every database but for its SQL."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..model import Message, Page, Stretch
from .sql import Connection, Cursor
from .sql_owed import owed


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
    values = {"topic": topic, "after": after, "limit": limit, "max_bytes": max_bytes}
    messages, found = pages.page(connection.execute(pages.log, values), topic)
    return Page(messages, is_last=len(messages) == found)


def stretch(
    connection: Connection, pages: Pages, after: int, limit: int, max_bytes: int
) -> Stretch:
    """Every topic's messages after a position."""
    values = {"after": after, "limit": limit, "max_bytes": max_bytes}
    messages, found = pages.positioned(connection.execute(pages.stretch, values))
    if len(messages) < found:
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
    bounds = {"after": max(after, due.after), "last": min(last, due.last)}
    values = msgspec.structs.asdict(due) | bounds | {"limit": limit, "max_bytes": max_bytes}
    messages, found = pages.page(connection.execute(pages.unconsumed, values), topic)
    return Page(messages, is_last=len(messages) == found)


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
