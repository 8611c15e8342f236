"""A topic as one consumer's inbox: what it has confirmed is read, the rest is not."""

from __future__ import annotations

from ..model import Message
from .sql import Connection
from .sql_rows import message_of, whole

LAST = 2**62

_NEWEST = """SELECT t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence,
        c.timestamp
    FROM topics AS t CROSS JOIN messages AS m ON m.topic_id = t.topic_id
    LEFT JOIN consumptions AS c ON c.topic_id = m.topic_id AND c.sequence = m.sequence
        AND c.consumer_id = (SELECT consumer_id FROM consumers WHERE consumer = :consumer)
    WHERE t.topic = :topic AND m.sequence < :below AND (c.sequence IS NULL OR :all = 1)
    ORDER BY m.sequence DESC LIMIT :limit"""
_UNREAD = """SELECT t.sequence - t.first + 1 - (SELECT count(*) FROM consumptions AS c
        WHERE c.topic_id = t.topic_id
        AND c.consumer_id = (SELECT consumer_id FROM consumers WHERE consumer = :consumer))
    FROM topics AS t WHERE t.topic = :topic"""


def read_inbox(
    connection: Connection,
    topic: str,
    consumer: str,
    limit: int,
    *,
    before: int | None,
    only_unread: bool,
) -> list[tuple[Message, float | None]]:
    """The newest messages below a sequence, newest first, and when each was confirmed."""
    values = {
        "topic": topic,
        "consumer": consumer,
        "limit": whole(limit),
        "below": LAST if before is None else whole(before),
        "all": int(not only_unread),
    }
    rows = connection.execute(_NEWEST, values).fetchall()
    return [(message_of(row[:6]), row[6]) for row in rows]


def count_unread(connection: Connection, topic: str, consumer: str) -> int:
    row = connection.execute(_UNREAD, {"topic": topic, "consumer": consumer}).fetchone()
    return int(row[0]) if row else 0
