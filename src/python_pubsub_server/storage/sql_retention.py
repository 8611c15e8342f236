"""Trimming a log from its old end, a few messages at a time."""

from __future__ import annotations

from collections.abc import Callable

from .database import Retention
from .sql import Connection
from .sql_ledger import forget_deliveries
from .sql_losses import count_losses, forget_identities, keep_identities

_TOO_LONG = """SELECT topic_id, first, sequence - ? AS last FROM topics
    WHERE sequence - first >= ? LIMIT 1"""
_OLDEST = "SELECT topic_id, sequence, timestamp FROM messages ORDER BY position LIMIT 1"
_FIRST = "SELECT first FROM topics WHERE topic_id = ?"
_OLD_OF_TOPIC = """SELECT coalesce(max(sequence), 0) FROM (
    SELECT sequence, timestamp FROM messages INDEXED BY messages_by_sequence
    WHERE topic_id = ? ORDER BY sequence LIMIT ?) AS m WHERE timestamp < ?"""
_READERS = "SELECT count(*) FROM readers WHERE topic_id = ?"
_DELETE_MESSAGES = "DELETE FROM messages WHERE topic_id = ? AND sequence <= ?"
_DELETE_CONSUMPTIONS = "DELETE FROM consumptions WHERE topic_id = ? AND sequence <= ?"
_DELETE_REPLAYS = "DELETE FROM replays WHERE topic_id = ? AND through <= ?"
_MOVE_FIRST = "UPDATE topics SET first = ? WHERE topic_id = ?"


def trim(
    connection: Connection,
    retention: Retention,
    now: float,
    limit: int,
    window: float,
    forget_words: Callable[[int, int], None],
) -> int:
    """Delete up to `limit` of the oldest messages of one topic that has too many or too old ones.

    What was consumed and replayed of them, and their words in the search index, go in the same
    transaction. When all messages may stay, it forgets deliveries of messages that are gone. Of
    those not older than the deduplication window it is kept who they were. `forget_words` deletes
    what the search index has of a topic's messages up to a sequence.
    """
    forgotten = forget_identities(connection, now - window, limit)
    found = _too_long(connection, retention, limit) or _too_old(connection, retention, now, limit)
    if found is None:
        return forgotten + forget_deliveries(connection, now, limit)
    topic_id, first, last = found
    if looked_at := count_losses(connection, topic_id, first, last, limit):
        return looked_at
    if window > 0:
        keep_identities(connection, topic_id, last, now - window)
    forget_words(topic_id, last)
    connection.execute(_DELETE_CONSUMPTIONS, (topic_id, last))
    connection.execute(_DELETE_REPLAYS, (topic_id, last))
    connection.execute(_DELETE_MESSAGES, (topic_id, last))
    connection.execute(_MOVE_FIRST, (last + 1, topic_id))
    return int(last - first + 1)


def _too_long(
    connection: Connection, retention: Retention, limit: int
) -> tuple[int, int, int] | None:
    """A topic with too many messages: its first sequence, and the last one to delete."""
    keep = retention.messages
    row = connection.execute(_TOO_LONG, (keep, keep)).fetchone()
    if row is None:
        return None
    topic_id, first, last = row
    return topic_id, first, min(last, first + _step(connection, topic_id, limit) - 1)


def _too_old(
    connection: Connection, retention: Retention, now: float, limit: int
) -> tuple[int, int, int] | None:
    """The topic of the oldest message, where that is too old."""
    if retention.seconds is None:
        return None
    before = now - retention.seconds
    row = connection.execute(_OLDEST).fetchone()
    if row is None or row[2] >= before:
        return None
    topic_id = row[0]
    step = _step(connection, topic_id, limit)
    (last,) = connection.execute(_OLD_OF_TOPIC, (topic_id, step, before)).fetchone()
    (first,) = connection.execute(_FIRST, (topic_id,)).fetchone()
    return topic_id, first, last


def _step(connection: Connection, topic_id: int, limit: int) -> int:
    """How many messages go at once: fewer where each takes the consumptions of many with it."""
    (readers,) = connection.execute(_READERS, (topic_id,)).fetchone()
    return max(1, limit // (1 + int(readers)))
