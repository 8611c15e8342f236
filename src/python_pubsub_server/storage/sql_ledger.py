"""Who was sent which message and who consumed it, in a log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..model import (
    Delivery,
    Explanation,
    Ledger,
    Loss,
    Message,
    Resent,
    SpanEnd,
    SpanStart,
    patterns_of,
)
from .database import Batch, Here
from .multirow import write_rows
from .sql import Connection
from .sql_losses import announce
from .sql_rows import LARGEST_INTEGER, message_of

MAX_CONSUMERS = 10_000  # that one ledger lists
LOST_SECONDS = 180.0  # since a node noted last that it is there; it does so every minute

_SET_NODE = """INSERT INTO nodes (node_id, delivered, noted_at) VALUES (?, ?, ?)
    ON CONFLICT (node_id) DO UPDATE
    SET delivered = excluded.delivered, noted_at = excluded.noted_at"""
_BEGIN_SPANS = "INSERT INTO spans (span_id, node_id, consumer_id, topic, after, began_at)"
_END_SPAN = "UPDATE spans SET ended_at = ?, reason = ?, through = ? WHERE span_id = ?"
_LEFT_BEFORE = """SELECT position FROM messages WHERE position <= ? AND timestamp < ?
    ORDER BY position DESC LIMIT 1"""
# Of a span in which nothing was sent there is nothing to tell.
_DROP_EMPTY = "DELETE FROM spans WHERE span_id = ? AND through <= after AND reason <> 'slow'"
_OLDEST = "SELECT position, timestamp FROM messages ORDER BY position LIMIT 1"
_FORGET_ENDED = """DELETE FROM spans WHERE span_id IN (SELECT span_id FROM spans
    WHERE through < ? AND (reason <> 'slow' OR ended_at < ?) LIMIT ?)"""
# Nodes that ended without a word, once no message is left that their spans tell of.
_LOST_NODES = "SELECT node_id FROM nodes WHERE delivered < ? AND noted_at < ? LIMIT 1"
_FORGET_LOST = """DELETE FROM spans WHERE span_id IN (SELECT span_id FROM spans
    WHERE through IS NULL AND node_id = ? LIMIT ?)"""
_FORGET_NODE = "DELETE FROM nodes WHERE node_id = ?"
_ADD_REPLAYS = "INSERT INTO replays (topic_id, consumer_id, after, through, at)"
_TOPIC = "SELECT topic_id, sequence, first FROM topics WHERE topic = ?"
_MESSAGE = """SELECT m.position, ?, m.message_id, m.message, m.producer, m.timestamp, m.sequence
    FROM messages AS m WHERE m.topic_id = ? AND m.sequence = ?"""
_TOPICS = "(SELECT value FROM json_each(:topics))"
_CONSUMED = """SELECT n.consumer, c.timestamp FROM consumptions AS c
    CROSS JOIN consumers AS n ON n.consumer_id = c.consumer_id
    WHERE c.topic_id = :topic_id AND c.sequence = :sequence
    AND (n.consumer = :consumer OR :consumer IS NULL) LIMIT :limit"""
_THROUGH = """coalesce(s.through, CASE WHEN s.node_id = :node_id THEN :delivered
    ELSE (SELECT delivered FROM nodes AS n WHERE n.node_id = s.node_id) END, 0)"""
_SENT_LIVE = f"""SELECT DISTINCT n.consumer FROM spans AS s
    CROSS JOIN consumers AS n ON n.consumer_id = s.consumer_id
    WHERE s.topic IN {_TOPICS} AND s.after < :position AND :position <= {_THROUGH}
    AND (n.consumer = :consumer OR :consumer IS NULL) LIMIT :limit"""
_SENT_AGAIN = """SELECT n.consumer, min(r.at) FROM replays AS r
    CROSS JOIN consumers AS n ON n.consumer_id = r.consumer_id
    WHERE r.topic_id = :topic_id AND r.after < :sequence AND :sequence <= r.through
    AND (n.consumer = :consumer OR :consumer IS NULL) GROUP BY n.consumer LIMIT :limit"""
_INTERESTED = f"""SELECT DISTINCT n.consumer FROM interests AS i
    CROSS JOIN consumers AS n ON n.consumer_id = i.consumer_id
    WHERE i.topic IN {_TOPICS} AND i.since < :position
    AND (n.consumer = :consumer OR :consumer IS NULL) LIMIT :limit"""
_LAST_SLOW = """SELECT s.ended_at FROM spans AS s
    CROSS JOIN consumers AS n ON n.consumer_id = s.consumer_id
    WHERE n.consumer = ? AND s.reason = 'slow' AND s.through < ?
    AND s.topic IN (SELECT value FROM json_each(?)) AND s.ended_at >= ?
    ORDER BY s.ended_at LIMIT 1"""


def store_deliveries(
    connection: Connection,
    batch: Batch,
    consumers: Mapping[str, int],
    topics: Mapping[str, int],
) -> None:
    """Keep what a node delivered. `consumers` and `topics` have the numbers of those named."""
    if batch.here is not None:
        connection.execute(_SET_NODE, (batch.here.node_id, batch.here.delivered, batch.at))
    rows = [
        (one.span_id, one.node_id, consumers[one.consumer], one.topic, one.after, one.at)
        for one in batch.deliveries
        if isinstance(one, SpanStart)
    ]
    write_rows(connection, _BEGIN_SPANS, rows)
    for end in (one for one in batch.deliveries if isinstance(one, SpanEnd)):
        through = _sent_through(connection, end)
        connection.execute(_END_SPAN, (end.at, end.reason, through, end.span_id))
        connection.execute(_DROP_EMPTY, (end.span_id,))
    ranges = [
        (topics[one.topic], consumers[one.consumer], one.after, one.through, one.at)
        for one in batch.deliveries
        if isinstance(one, Resent) and one.topic in topics
    ]
    write_rows(connection, _ADD_REPLAYS, ranges)
    losses = [one for one in batch.deliveries if isinstance(one, Loss)]
    announce(connection, losses, consumers, topics)


def _sent_through(connection: Connection, end: SpanEnd) -> int:
    """Up to which position a span's messages left; of a slow connection, before it stalled."""
    if end.stalled_at is None:
        return end.through
    row = connection.execute(_LEFT_BEFORE, (end.through, end.stalled_at)).fetchone()
    return 0 if row is None else int(row[0])


def forget_deliveries(connection: Connection, now: float, limit: int) -> int:
    """Delete up to `limit` spans of messages that the log does not have any more; how many."""
    oldest = connection.execute(_OLDEST).fetchone() or (LARGEST_INTEGER, now)
    forgotten = connection.execute(_FORGET_ENDED, (*oldest, limit)).rowcount
    lost = connection.execute(_LOST_NODES, (oldest[0], now - LOST_SECONDS)).fetchone()
    if lost is not None:
        gone = connection.execute(_FORGET_LOST, (lost[0], limit)).rowcount
        if gone < limit:
            connection.execute(_FORGET_NODE, lost)
        forgotten += gone
    return forgotten


def read_ledger(connection: Connection, topic: str, sequence: int, here: Here) -> Ledger | None:
    """The ledger of a message, None when it is not in the log (any more)."""
    found = _find(connection, topic, sequence)
    if found is None:
        return None
    message, values = found
    values |= {"consumer": None, "limit": MAX_CONSUMERS, **_here(here)}
    delivered, consumed = _deliveries(connection, message, values)
    interested = {name for (name,) in connection.execute(_INTERESTED, values)}
    names = sorted(delivered.keys() | consumed.keys())
    return Ledger(
        message,
        [Delivery(name, delivered.get(name), consumed.get(name)) for name in names],
        sorted((interested | delivered.keys()) - consumed.keys()),
    )


def explain(
    connection: Connection, topic: str, sequence: int, consumer: str, here: Here
) -> Explanation:
    """Why a consumer did or did not get the message at a sequence."""
    row = connection.execute(_TOPIC, (topic,)).fetchone()
    if row is None or sequence > row[1] or sequence < 1:
        return Explanation("unknown", None, "No message was ever published at this sequence")
    if sequence < row[2]:
        return Explanation(
            "trimmed", None, f"Retention has deleted it; the first one kept is {row[2]}"
        )
    found = _find(connection, topic, sequence)
    assert found is not None  # between first and last, inside one read transaction
    message, values = found
    values |= {"consumer": consumer, "limit": 1, **_here(here)}
    delivered, consumed = _deliveries(connection, message, values)
    if consumer in consumed:
        return Explanation("consumed", consumed[consumer], "The consumer confirmed it")
    if consumer in delivered:
        return Explanation(
            "delivered", delivered[consumer], "It was sent, and the consumer has not confirmed it"
        )
    slow = connection.execute(
        _LAST_SLOW, (consumer, values["position"], values["topics"], message.timestamp)
    ).fetchone()
    if slow is not None:
        return Explanation(
            "slow", slow[0], "Its connection took messages too slowly and was closed before this"
        )
    is_wanted = connection.execute(_INTERESTED, values).fetchone() is not None
    return Explanation(
        "not_subscribed",
        None,
        'It was not connected then; it gets this by subscribing with after: "consumed"'
        if is_wanted
        else "It had not subscribed to this topic yet",
    )


def _find(
    connection: Connection, topic: str, sequence: int
) -> tuple[Message, dict[str, Any]] | None:
    row = connection.execute(_TOPIC, (topic,)).fetchone()
    if row is None:
        return None
    found = connection.execute(_MESSAGE, (topic, row[0], sequence)).fetchone()
    if found is None:
        return None
    return message_of(found[1:]), {
        "topic_id": row[0],
        "position": found[0],
        "sequence": sequence,
        "topics": json.dumps([topic, *patterns_of(topic)]),
    }


def _deliveries(
    connection: Connection, message: Message, values: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Consumer to the time of its first delivery, and to that of its consumption."""
    delivered = dict(connection.execute(_SENT_AGAIN, values).fetchall())
    for (name,) in connection.execute(_SENT_LIVE, values):
        delivered[name] = message.timestamp  # sent in the moment of its commit
    return delivered, dict(connection.execute(_CONSUMED, values).fetchall())


def _here(here: Here) -> dict[str, Any]:
    return {"node_id": here.node_id, "delivered": here.delivered}
