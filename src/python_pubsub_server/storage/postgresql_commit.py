"""The SQL of a commit on PostgreSQL: a whole batch inside the transaction of the writer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Raw

from ..model import Claim, Draft, Interest, Loss, Message, Published, Resent, SpanStart
from .database import Batch, Committed
from .postgresql_dialect import Dialect
from .postgresql_rows import Connection, columns, write_rows
from .recent import Recent
from .sql_ledger import store_deliveries
from .sql_losses import note_told
from .sql_rows import LARGEST_INTEGER
from .sql_votes import with_votes

# Held until the commit: what is read below stays true, and positions are given once.
_LOCK_LOG = "SELECT position, consumption, timestamp FROM log FOR UPDATE"
_SET_LOG = "UPDATE log SET position = %s, consumption = %s, timestamp = %s"
_FIND_TOPICS = "SELECT topic, topic_id, sequence FROM topics WHERE topic = ANY(%s)"
_FIND_CONSUMERS = "SELECT consumer, consumer_id FROM consumers WHERE consumer = ANY(%s)"
_LAST_TOPIC = "SELECT coalesce(max(topic_id), 0) FROM topics"
_LAST_CONSUMER = "SELECT coalesce(max(consumer_id), 0) FROM consumers"
_FIND_RECENT = """SELECT w.n, m.message_id, m.message, m.producer, m.timestamp, m.sequence
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
_ADD_CONSUMERS = """INSERT INTO consumers (consumer, consumer_id)
    SELECT * FROM unnest(%s::text[], %s::bigint[])"""
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


class _Topic(msgspec.Struct):
    """Where a topic stands while a batch is being stored."""

    topic_id: int
    sequence: int
    last_published_at: float = 0.0


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
    asked_topics = connection.execute(_FIND_TOPICS, (_topic_names(batch),))
    asked_consumers = connection.execute(_FIND_CONSUMERS, (_consumer_names(batch),))
    _read_recent(connection, batch.drafts, recent)
    ((position, consumption, timestamp),) = locked.fetchall()
    log = _Log(position, consumption, timestamp)
    topics = {name: _Topic(i, n) for name, i, n in asked_topics.fetchall()}
    consumers: dict[str, int] = dict(asked_consumers.fetchall())
    _number_consumers(connection, batch, consumers)
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


def _topic_names(batch: Batch) -> list[str]:
    asking: Iterable[Draft | Claim | Resent | Loss] = (
        *batch.drafts,
        *batch.claims,
        *(one for one in batch.deliveries if isinstance(one, Resent | Loss)),
    )
    return list({one.topic: None for one in asking})


def _consumer_names(batch: Batch) -> list[str]:
    asking: Iterable[Claim | Interest | SpanStart | Resent | Loss] = (
        *batch.interests,
        *batch.claims,
        *(one for one in batch.deliveries if isinstance(one, SpanStart | Resent | Loss)),
    )
    return list({one.consumer: None for one in asking})


def _read_recent(connection: Connection, drafts: Sequence[Draft], recent: Recent) -> None:
    """Find the messages that drafts may repeat."""
    if not recent.is_on or not drafts:
        return
    wanted = [(n, d.topic, d.message_id, d.fingerprint) for n, d in enumerate(drafts)]
    for n, message_id, text, producer, timestamp, sequence in connection.execute(
        _FIND_RECENT, columns(wanted, 4)
    ).fetchall():
        draft = drafts[n]
        recent.add(
            draft, Message(draft.topic, message_id, Raw(text), producer, timestamp, sequence)
        )
    for n, *identity in connection.execute(_FIND_DELETED, columns(wanted, 4)).fetchall():
        recent.add_deleted(drafts[n], *identity)


def _number_consumers(connection: Connection, batch: Batch, consumers: dict[str, int]) -> None:
    new = [name for name in _consumer_names(batch) if name not in consumers]
    if new:
        ((last,),) = connection.execute(_LAST_CONSUMER).fetchall()
        numbered = [(name, number) for number, name in enumerate(new, start=last + 1)]
        consumers.update(numbered)
        write_rows(connection, _ADD_CONSUMERS, numbered, 2)


def _number_topics(
    connection: Connection, drafts: Sequence[Draft], topics: dict[str, _Topic]
) -> None:
    new = [name for name in {draft.topic: None for draft in drafts} if name not in topics]
    if new:
        ((last,),) = connection.execute(_LAST_TOPIC).fetchall()
        topics.update((name, _Topic(number, 0)) for number, name in enumerate(new, start=last + 1))


def _store_drafts(
    connection: Connection, batch: Batch, topics: dict[str, _Topic], recent: Recent, log: _Log
) -> list[Published]:
    """What became of the drafts. `log` and `topics` move on with them."""
    _number_topics(connection, batch.drafts, topics)
    published: list[Published] = []
    rows = []
    totals: dict[tuple[int, str], list[float]] = {}
    changed: dict[str, _Topic] = {}
    for draft, arrived_at in zip(batch.drafts, batch.arrived_at, strict=True):
        # Time does not go back in a log, also where the clocks of its nodes differ.
        at = max(arrived_at, log.timestamp)
        earlier = recent.earlier(draft, at)
        if earlier is not None:
            published.append(Published(earlier, True))
            continue
        topic = changed[draft.topic] = topics[draft.topic]
        topic.sequence += 1
        topic.last_published_at = log.timestamp = at
        message = Message(
            draft.topic, draft.message_id, draft.message, draft.producer, at, topic.sequence
        )
        recent.add(draft, message)
        published.append(Published(message, False))
        log.position += 1
        rows.append(
            (
                log.position,
                topic.topic_id,
                topic.sequence,
                draft.message_id,
                str(draft.message, "utf-8"),
                draft.producer,
                at,
                draft.fingerprint,
            )
        )
        total = totals.setdefault((topic.topic_id, draft.producer), [0, at])
        total[0] += 1
        total[1] = at
    write_rows(connection, _ADD_MESSAGES, rows, 8)
    positions = [
        (topic.topic_id, name, topic.sequence, topic.last_published_at)
        for name, topic in changed.items()
    ]
    write_rows(connection, _SET_TOPICS, positions, 4)
    edges = ((*key, int(count), last_at) for key, (count, last_at) in totals.items())
    write_rows(connection, _ADD_PUBLISHERS, edges, 4)
    return published


def _store_claims(
    connection: Connection,
    batch: Batch,
    topics: Mapping[str, _Topic],
    consumers: Mapping[str, int],
    log: _Log,
) -> list[int | None]:
    claimed: list[int | None] = [None] * len(batch.claims)
    new: dict[tuple[int, int, int], None] = {}
    totals: dict[tuple[int, int], int] = {}
    for n, sequence, is_known in _find_claimed(connection, batch.claims, topics, consumers):
        claim = batch.claims[n]
        key = (topics[claim.topic].topic_id, sequence, consumers[claim.consumer])
        is_new = not is_known and key not in new
        claimed[n] = (claimed[n] or 0) + is_new
        if is_new:
            new[key] = None
            totals[key[0], key[2]] = totals.get((key[0], key[2]), 0) + 1
    rows = [(number, *key, batch.at) for number, key in enumerate(new, start=log.consumption + 1)]
    log.consumption += len(rows)
    write_rows(connection, _ADD_CONSUMPTIONS, rows, 5)
    edges = ((*edge, count, batch.at) for edge, count in totals.items())
    write_rows(connection, _ADD_READERS, edges, 4)
    if totals:
        note_told(Dialect(connection), list(totals))
    return claimed


def _find_claimed(
    connection: Connection,
    claims: Sequence[Claim],
    topics: Mapping[str, _Topic],
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
