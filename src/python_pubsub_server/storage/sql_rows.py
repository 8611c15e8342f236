"""What the queries on a log share: rows to values, bounds, and finding a place in a topic."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from ..model import Message
from .sql import Connection

LARGEST_INTEGER = 2**63 - 1

_POSITION_OF = "SELECT position FROM messages WHERE topic_id = ? AND sequence = ?"


def message_of(row: tuple[Any, ...]) -> Message:
    topic, message_id, text, producer, timestamp, sequence = row
    return Message(topic, message_id, Raw(text), producer, timestamp, sequence)


def whole(number: int) -> int:
    """A number that a database takes: clients may send any."""
    return max(0, min(number, LARGEST_INTEGER))


def below_of(before: int | None) -> int:
    """A cursor as a bound; without one everything is below it."""
    return LARGEST_INTEGER if before is None else whole(before)


def last_below(connection: Connection, topic_id: int, first: int, last: int, below: int) -> int:
    """A topic's last sequence below a position; a topic has no gaps, so halving finds it."""
    if below == LARGEST_INTEGER:
        return last
    while first <= last:
        middle = (first + last) // 2
        row = connection.execute(_POSITION_OF, (topic_id, middle)).fetchone()
        # A sequence that is not there was trimmed since the bounds were read.
        if row is None or row[0] < below:
            first = middle + 1
        else:
            last = middle - 1
    return last
