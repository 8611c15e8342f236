"""The SQL of a commit on PostgreSQL: a whole batch inside the transaction of the writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..model import Claim, Draft, Published
from .database import Batch, Committed
from .postgresql_dialect import Dialect
from .postgresql_rows import Connection, columns, write_rows
from .recent import Recent
from .sql_commit import (
    Topic,
    consumer_names,
    count_claims,
    number_consumers,
    number_topics,
    order,
    topic_names,
)
from .sql_ledger import store_deliveries
from .sql_losses import note_told
from .sql_rows import LARGEST_INTEGER
from .sql_votes import with_votes

# Held until the commit: what is read below stays true, and positions are given once.
_LOCK_LOG = "SELECT position, consumption, timestamp FROM log FOR UPDATE"
_SET_LOG = "UPDATE log SET position = %s, consumption = %s, timestamp = %s"
_FIND_TOPICS = "SELECT topic, topic_id, sequence FROM topics WHERE topic = ANY(%s)"
_FIND_CONSUMERS = "SELECT consumer, consumer_id FROM consumers WHERE consumer = ANY(%s)"
_FIND_RECENT = """SELECT w.n, m.message, m.producer, m.timestamp, m.sequence
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])
        AS w (n, topic, message_id, fingerprint)
    JOIN topics AS t ON t.topic = w.topic
    CROSS JOIN LATERAL (SELECT * FROM messages AS o WHERE o.topic_id = t.topic_id
        AND o.message_id = w.message_id AND o.fingerprint = w.fingerprint
        ORDER BY o.position DESC LIMIT 1) AS m"""
_FIND_DELETED = """SELECT w.n, d.producer, d.digest, d.timestamp, d.sequence
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])
        AS w (n, topic, message_id, fingerprint)
    JOIN topics AS t ON t.topic = w.topic
    JOIN identities AS d ON d.topic_id = t.topic_id AND d.message_id = w.message_id
        AND d.fingerprint = w.fingerprint"""
_ADD_MESSAGES = """INSERT INTO messages
    (position, topic_id, sequence, message_id, message, producer, timestamp, fingerprint)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
        %s::text[], %s::float8[], %s::bigint[])"""
_SET_TOPICS = """INSERT INTO topics (topic_id, topic, sequence, last_published_at)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::float8[])
    ON CONFLICT (topic_id) DO UPDATE SET sequence = excluded.sequence,
        last_published_at = excluded.last_published_at"""
_ADD_PUBLISHERS = """INSERT INTO publishers AS p (topic_id, producer, messages, last_at)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::float8[])
    ON CONFLICT (topic_id, producer) DO UPDATE SET messages = p.messages + excluded.messages,
        last_at = greatest(p.last_at, excluded.last_at)"""
_ADD_INTERESTS = """INSERT INTO interests (consumer_id, topic, since, first_at)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::float8[])
    ON CONFLICT DO NOTHING"""
# A claim without a sequence speaks of every message with its id.
_FIND_CLAIMED = """SELECT w.n, m.sequence, c.consumer_id IS NOT NULL
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
        AS w (n, topic_id, message_id, consumer_id, sequence)
    CROSS JOIN LATERAL (
        SELECT sequence FROM messages AS o WHERE w.sequence IS NULL
            AND o.topic_id = w.topic_id AND o.message_id = w.message_id
        UNION ALL
        SELECT sequence FROM messages AS o WHERE o.topic_id = w.topic_id
            AND o.sequence = w.sequence AND o.message_id = w.message_id) AS m
    LEFT JOIN consumptions AS c ON c.topic_id = w.topic_id AND c.sequence = m.sequence
        AND c.consumer_id = w.consumer_id
    ORDER BY 1, 2"""
_ADD_CONSUMPTIONS = """INSERT INTO consumptions
    (position, topic_id, sequence, consumer_id, timestamp)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[])"""
_ADD_READERS = """INSERT INTO readers AS r (topic_id, consumer_id, consumptions, last_at)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::float8[])
    ON CONFLICT (topic_id, consumer_id) DO UPDATE SET
        consumptions = r.consumptions + excluded.consumptions,
        last_at = greatest(r.last_at, excluded.last_at)"""


class _Log(msgspec.Struct):
    """The last positions that were given, and the time of the newest message."""

    position: int
    consumption: int
    timestamp: float


def store(connection: Connection, batch: Batch, window: float) -> Committed:
    """Store a batch; drafts that repeat one of the last `window` seconds are not stored again."""
    locked = connection.execute(_LOCK_LOG)
    batch, voted = with_votes(Dialect(connection), batch)
    recent = Recent(window)
    asked_topics = connection.execute(_FIND_TOPICS, (topic_names(batch),))
    named = consumer_names(batch)
    asked_consumers = connection.execute(_FIND_CONSUMERS, (named,))
    _read_recent(connection, batch.drafts, recent)
    ((position, consumption, timestamp),) = locked.fetchall()
    log = _Log(position, consumption, timestamp)
    topics = {name: Topic(i, n) for name, i, n in asked_topics.fetchall()}
    consumers: dict[str, int] = dict(asked_consumers.fetchall())
    number_consumers(Dialect(connection), named, consumers)
    rows = [
        (consumers[one.consumer], one.topic, 0 if one.from_start else position, batch.at)
        for one in batch.interests
    ]
    write_rows(connection, _ADD_INTERESTS, rows, 4)
    published = _store_drafts(connection, batch, topics, recent, log)
    claimed = _store_claims(connection, batch, topics, consumers, log)
    if batch.here is not None or batch.deliveries:
        numbers = {name: topic.topic_id for name, topic in topics.items()}
        store_deliveries(Dialect(connection), batch, consumers, numbers)
    if (log.position, log.consumption) != (position, consumption):
        connection.execute(_SET_LOG, (log.position, log.consumption, log.timestamp))
    return Committed(published, claimed, log.position, voted)


def _read_recent(connection: Connection, drafts: Sequence[Draft], recent: Recent) -> None:
    """Find the messages that drafts may repeat."""
    if not recent.is_on or not drafts:
        return
    wanted = [(n, d.topic, d.message_id, d.fingerprint) for n, d in enumerate(drafts)]
    for n, *stored in connection.execute(_FIND_RECENT, columns(wanted, 4)).fetchall():
        recent.add_stored(drafts[n], *stored)
    for n, *identity in connection.execute(_FIND_DELETED, columns(wanted, 4)).fetchall():
        recent.add_deleted(drafts[n], *identity)


def _store_drafts(
    connection: Connection, batch: Batch, topics: dict[str, Topic], recent: Recent, log: _Log
) -> list[Published]:
    """What became of the drafts. `log` and `topics` move on with them."""
    number_topics(Dialect(connection), batch.drafts, topics)
    ordered = order(batch, topics, recent, log.timestamp)
    rows = [(n, *row) for n, row in enumerate(ordered.messages, start=log.position + 1)]
    write_rows(connection, _ADD_MESSAGES, rows, 8)
    write_rows(connection, _SET_TOPICS, ordered.topics, 4)
    write_rows(connection, _ADD_PUBLISHERS, ordered.publishers, 4)
    log.position += len(rows)
    log.timestamp = max((last_at for *_, last_at in ordered.topics), default=log.timestamp)
    return ordered.published


def _store_claims(
    connection: Connection,
    batch: Batch,
    topics: Mapping[str, Topic],
    consumers: Mapping[str, int],
    log: _Log,
) -> list[int | None]:
    found = _find_claimed(connection, batch.claims, topics, consumers)
    counted = count_claims(batch, found, topics, consumers)
    keys = enumerate(counted.consumptions, start=log.consumption + 1)
    write_rows(connection, _ADD_CONSUMPTIONS, [(n, *key, batch.at) for n, key in keys], 5)
    log.consumption += len(counted.consumptions)
    write_rows(connection, _ADD_READERS, [(*edge, batch.at) for edge in counted.readers], 4)
    if counted.readers:
        note_told(Dialect(connection), [edge[:2] for edge in counted.readers])
    return counted.claimed


def _find_claimed(
    connection: Connection,
    claims: Sequence[Claim],
    topics: Mapping[str, Topic],
    consumers: Mapping[str, int],
) -> list[tuple[int, int, bool]]:
    """Each message that a claim speaks of: the claim's number, the sequence, if recorded before."""
    wanted = [
        (n, topics[c.topic].topic_id, c.message_id, consumers[c.consumer], c.sequence)
        for n, c in enumerate(claims)
        if c.topic in topics and (c.sequence is None or 0 < c.sequence <= LARGEST_INTEGER)
    ]
    if not wanted:
        return []
    found: list[tuple[int, int, bool]] = connection.execute(
        _FIND_CLAIMED, columns(wanted, 5)
    ).fetchall()
    return found
