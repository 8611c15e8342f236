"""What a log remembers of deleted messages: for whom they are lost, and who they were.

Losses are counted, not listed: of the messages that were deleted a consumer wanted all behind one
sequence, and how many of them it had confirmed is added up while they are deleted. So a step of
trimming works for those who confirmed, however many others wait.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw

from ..model import Draft, Loss, patterns_of
from .multirow import read_text_rows, write_rows
from .recent import Recent, digest
from .sql import Connection
from .sql_rows import last_below

_TOPICS = "(SELECT value FROM json_each(:topics))"
_TOPIC = """SELECT t.topic, t.trimmed, a.position, z.position FROM topics AS t
    CROSS JOIN messages AS a ON a.topic_id = t.topic_id AND a.sequence = :first
    CROSS JOIN messages AS z ON z.topic_id = t.topic_id AND z.sequence = :last
    WHERE t.topic_id = :topic_id"""
# Consumers whose first interest in a topic begins among what is deleted now.
_REACHED = f"""SELECT consumer_id, since FROM (
        SELECT i.consumer_id, (SELECT min(o.since) FROM interests AS o
            WHERE o.consumer_id = i.consumer_id AND o.topic IN {_TOPICS}) AS since
        FROM interests AS i INDEXED BY interests_by_topic
        WHERE i.topic IN {_TOPICS} AND i.since >= :lower AND i.since < :upper
        AND NOT EXISTS (SELECT 1 FROM losses AS l WHERE l.topic_id = :topic_id
            AND l.consumer_id = i.consumer_id AND l.base IS NOT NULL)) AS r
    WHERE since >= :lower LIMIT :limit"""
_SET_BASE = "INSERT INTO losses (topic_id, consumer_id, base)"
_ON_BASE = """ON CONFLICT (topic_id, consumer_id) DO UPDATE SET
    base = excluded.base, confirmed = 0"""
_COUNT_CONFIRMED = """INSERT INTO losses (topic_id, consumer_id, confirmed)
    SELECT c.topic_id, c.consumer_id, count(*)
    FROM consumptions AS c INDEXED BY consumptions_by_message
    LEFT JOIN losses AS l ON l.topic_id = c.topic_id AND l.consumer_id = c.consumer_id
    WHERE c.topic_id = ? AND c.sequence <= ? AND c.sequence > coalesce(l.base, 0)
    GROUP BY c.topic_id, c.consumer_id
    ON CONFLICT (topic_id, consumer_id) DO UPDATE SET
    confirmed = losses.confirmed + excluded.confirmed"""
_SET_TRIMMED = """UPDATE topics SET trimmed =
    (SELECT position FROM messages WHERE topic_id = :topic_id AND sequence = :last)
    WHERE topic_id = :topic_id"""
_LOSS = """SELECT t.trimmed, t.first - 1 - coalesce(l.base, 0) - coalesce(l.confirmed, 0),
    coalesce(l.told, 0) FROM topics AS t
    LEFT JOIN losses AS l ON l.topic_id = t.topic_id AND l.consumer_id = ? WHERE t.topic_id = ?"""
_ANNOUNCE = "INSERT INTO losses (topic_id, consumer_id, announced)"
_ON_ANNOUNCE = """ON CONFLICT (topic_id, consumer_id) DO UPDATE SET
    announced = max(losses.announced, excluded.announced)"""
_IS_ANNOUNCED = "SELECT EXISTS (SELECT 1 FROM losses INDEXED BY losses_announced"
_IS_ANNOUNCED += " WHERE announced > told)"
_TELL = """UPDATE losses SET told = announced
    WHERE announced > told AND topic_id = ? AND consumer_id = ?"""

_YOUNG = """SELECT message_id, fingerprint, producer, message, timestamp, sequence FROM messages
    WHERE topic_id = ? AND sequence <= ? AND timestamp >= ?"""
_ADD_IDENTITIES = """INSERT INTO identities
    (topic_id, message_id, fingerprint, producer, digest, timestamp, sequence)"""
_HAS_IDENTITIES = "SELECT EXISTS (SELECT 1 FROM identities)"
_IDENTITY_COLUMNS = "w.column1, d.producer, d.digest, d.timestamp, d.sequence"
_FIND_IDENTITIES = """CROSS JOIN identities AS d INDEXED BY identities_by_id
    ON d.topic_id = w.column2 AND d.message_id = w.column3 AND d.fingerprint = w.column4"""
_FORGET_IDENTITIES = """DELETE FROM identities WHERE rowid IN (
    SELECT rowid FROM identities WHERE timestamp < ? ORDER BY timestamp LIMIT ?)"""


def count_losses(connection: Connection, topic_id: int, first: int, last: int, limit: int) -> int:
    """Before a topic's messages are deleted, add up for whom they are lost.

    Not 0: that many consumers had to be looked at first, and there may be more; call it again, in
    a transaction of its own, before anything is deleted.
    """
    values: dict[str, Any] = {"topic_id": topic_id, "first": first, "last": last}
    topic, trimmed, lower, upper = connection.execute(_TOPIC, values).fetchone()
    values |= {
        "topics": json.dumps([topic, *patterns_of(topic)]),
        "lower": trimmed if trimmed else lower,  # who came before the first one wanted them all
        "upper": upper,
        "limit": max(1, limit // 4),  # each takes as long as several messages
    }
    reached = connection.execute(_REACHED, values).fetchall()
    bases = {
        consumer_id: last_below(connection, topic_id, first, last, since + 1)
        for consumer_id, since in reached
    }
    rows = [(topic_id, consumer_id, base) for consumer_id, base in bases.items()]
    write_rows(connection, _SET_BASE, rows, _ON_BASE)
    if len(reached) == values["limit"]:
        return len(reached)
    connection.execute(_COUNT_CONFIRMED, (topic_id, last))
    connection.execute(_SET_TRIMMED, values)
    return 0


def find_loss(
    connection: Connection, consumer_id: int, topic_id: int, since: int
) -> tuple[int, int]:
    """How many wanted messages a consumer lost, and of how many of them it knows."""
    trimmed, lost, told = connection.execute(_LOSS, (consumer_id, topic_id)).fetchone()
    return (0, 0) if since >= trimmed else (lost, told)


def announce(
    connection: Connection,
    losses: Sequence[Loss],
    consumers: Mapping[str, int],
    topics: Mapping[str, int],
) -> None:
    """Note which losses were said to consumers."""
    rows = [
        (topics[loss.topic], consumers[loss.consumer], loss.total)
        for loss in losses
        if loss.topic in topics
    ]
    write_rows(connection, _ANNOUNCE, rows, _ON_ANNOUNCE)


def note_told(connection: Connection, confirmed: Sequence[tuple[int, int]]) -> None:
    """Who confirms a message of a topic (topic and consumer) has got what was announced before."""
    if connection.execute(_IS_ANNOUNCED).fetchone()[0]:
        connection.executemany(_TELL, confirmed)


def keep_identities(connection: Connection, topic_id: int, last: int, young: float) -> None:
    """Before messages are deleted, keep what tells that a younger one is published again."""
    rows = [
        (topic_id, message_id, fingerprint, producer, digest(Raw(text)), timestamp, sequence)
        for message_id, fingerprint, producer, text, timestamp, sequence in connection.execute(
            _YOUNG, (topic_id, last, young)
        ).fetchall()
    ]
    write_rows(connection, _ADD_IDENTITIES, rows)


def read_identities(
    connection: Connection,
    drafts: Sequence[Draft],
    wanted: Sequence[tuple[int, int, str, int]],
    recent: Recent,
) -> None:
    """Find the deleted messages that drafts may repeat."""
    if connection.execute(_HAS_IDENTITIES).fetchone()[0]:
        for n, *identity in read_text_rows(connection, _IDENTITY_COLUMNS, wanted, _FIND_IDENTITIES):
            recent.add_deleted(drafts[n], *identity)


def forget_identities(connection: Connection, before: float, limit: int) -> int:
    """Delete up to `limit` identities that are too old to be repeated; how many."""
    return connection.execute(_FORGET_IDENTITIES, (before, limit)).rowcount
