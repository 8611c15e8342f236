"""What a consumer is owed of a topic, from its first interest on, and what it has lost of it."""

from __future__ import annotations

import msgspec

from ..model import Loss, matches
from .sql import Connection
from .sql_losses import find_loss
from .sql_rows import last_below

_CONSUMER = "SELECT consumer_id FROM consumers WHERE consumer = ?"
_TOPIC = "SELECT topic_id, sequence, first FROM topics WHERE topic = ?"
_INTERESTS = "SELECT topic, since FROM interests WHERE consumer_id = ?"


class Owed(msgspec.Struct):
    """Everything after a sequence, up to the last one, that the consumer did not consume."""

    consumer_id: int
    topic_id: int
    after: int
    last: int


def owed(connection: Connection, consumer: str, topic: str) -> Owed | None:
    """What a consumer is owed of a topic; None: it never wanted it, or there is no such topic."""
    topic_row = connection.execute(_TOPIC, (topic,)).fetchone()
    wanted = _interest(connection, consumer, topic)
    if topic_row is None or wanted is None:
        return None
    topic_id, last, first = topic_row
    consumer_id, since = wanted
    after = last_below(connection, topic_id, first, last, since + 1)
    return Owed(consumer_id, topic_id, after, last)


def loss(connection: Connection, consumer: str, topic: str) -> Loss:
    """What retention took of a topic before a consumer had confirmed it."""
    topic_row = connection.execute(_TOPIC, (topic,)).fetchone()
    wanted = _interest(connection, consumer, topic)
    if topic_row is None or wanted is None:
        return Loss(consumer, topic, 0)
    consumer_id, since = wanted
    return Loss(consumer, topic, *find_loss(connection, consumer_id, topic_row[0], since))


def _interest(connection: Connection, consumer: str, topic: str) -> tuple[int, int] | None:
    """A consumer's number, and the position since which it wants a topic."""
    row = connection.execute(_CONSUMER, (consumer,)).fetchone()
    if row is None:
        return None
    interests = connection.execute(_INTERESTS, row).fetchall()
    since = [position for wanted, position in interests if matches(wanted, topic)]
    return (row[0], min(since)) if since else None
