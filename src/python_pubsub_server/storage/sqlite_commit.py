"""The SQL of a commit: a whole batch inside the transaction that the writer opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ..model import Claim, Draft, Published
from .database import Batch, Committed
from .multirow import read_rows, read_text_rows, write_rows
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
from .sql_losses import note_told, read_identities
from .sql_rows import LARGEST_INTEGER
from .sql_votes import with_votes

_FIND_TOPICS = "CROSS JOIN topics AS t ON t.topic = w.column2"
_FIND_CONSUMERS = "CROSS JOIN consumers AS c ON c.consumer = w.column2"
_RECENT_COLUMNS = "w.column1, m.message, m.producer, m.timestamp, m.sequence"
# Only the newest of a kind can lie in the window: it would have kept the others out.
_FIND_RECENT = """CROSS JOIN messages AS m ON m.position = (
    SELECT position FROM messages INDEXED BY messages_by_id
    WHERE topic_id = w.column2 AND message_id = w.column3 AND fingerprint = w.column4
    ORDER BY position DESC LIMIT 1)"""
_ADD_MESSAGES = """INSERT INTO messages
    (topic_id, sequence, message_id, message, producer, timestamp, fingerprint)"""
_SET_TOPICS = "INSERT INTO topics (topic_id, topic, sequence, last_published_at)"
_ON_TOPIC = """ON CONFLICT (topic_id) DO UPDATE SET
    sequence = excluded.sequence, last_published_at = excluded.last_published_at"""
_ADD_PUBLISHERS = "INSERT INTO publishers (topic_id, producer, messages, last_at)"
_ON_PUBLISHER = """ON CONFLICT (topic_id, producer) DO UPDATE SET
    messages = messages + excluded.messages, last_at = max(last_at, excluded.last_at)"""
_ADD_INTERESTS = "INSERT OR IGNORE INTO interests (consumer_id, topic, since, first_at)"
_LAST_TIMESTAMP = "SELECT timestamp FROM messages ORDER BY position DESC LIMIT 1"
_LAST_POSITION = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"
_CLAIM_COLUMNS = "w.column1, m.sequence, c.consumer_id IS NOT NULL"
_KNOWN = """LEFT JOIN consumptions AS c ON c.topic_id = m.topic_id AND c.sequence = m.sequence
    AND c.consumer_id = w.column4"""
_FIND_CLAIMED_ID = f"""CROSS JOIN messages AS m
    ON m.topic_id = w.column2 AND m.message_id = w.column3 {_KNOWN}"""
_FIND_CLAIMED_SEQUENCE = f"""CROSS JOIN messages AS m
    ON m.topic_id = w.column2 AND m.sequence = w.column5 AND m.message_id = w.column3 {_KNOWN}"""
_ADD_CONSUMPTIONS = "INSERT INTO consumptions (topic_id, sequence, consumer_id, timestamp)"
_ADD_READERS = "INSERT INTO readers (topic_id, consumer_id, consumptions, last_at)"
_ON_READER = """ON CONFLICT (topic_id, consumer_id) DO UPDATE SET
    consumptions = consumptions + excluded.consumptions, last_at = max(last_at, excluded.last_at)"""
_PROGRESS = "SELECT position FROM consumed_by_progress"
_ADD_CONSUMED_BY = """INSERT INTO consumed_by (consumer_id, topic_id, position)
    SELECT consumer_id, topic_id, position FROM consumptions WHERE position > ? ORDER BY 1, 2, 3"""
_SET_PROGRESS = "UPDATE consumed_by_progress SET position = ?"

LATE_CONSUMPTIONS = 1_000  # whose consumer's list does not have them yet: readers look at them all


def store(connection: sqlite3.Connection, batch: Batch, window: float) -> Committed:
    """Store a batch; drafts that repeat one of the last `window` seconds are not stored again."""
    batch, voted = with_votes(connection, batch)
    consumers = _read_consumers(connection, batch)
    if batch.interests:
        _store_interests(connection, batch, consumers)
    topics = _read_topics(connection, batch)
    published, position = (
        _store_drafts(connection, batch, topics, window) if batch.drafts else ([], 0)
    )
    claimed = _store_claims(connection, batch, topics, consumers) if batch.claims else []
    if batch.here is not None or batch.deliveries:
        numbers = {name: topic.topic_id for name, topic in topics.items()}
        store_deliveries(connection, batch, consumers, numbers)
    if not position:
        (position,) = connection.execute(_LAST_POSITION).fetchone()
    return Committed(published, claimed, position, voted)


def _read_consumers(connection: sqlite3.Connection, batch: Batch) -> dict[str, int]:
    """The numbers of the batch's consumers; new ones get theirs here."""
    names = consumer_names(batch)
    if not names:
        return {}
    found = read_rows(
        connection, "w.column1, c.consumer_id", list(enumerate(names)), _FIND_CONSUMERS
    )
    consumers = {names[n]: consumer_id for n, consumer_id in found}
    number_consumers(connection, names, consumers)
    return consumers


def _store_interests(
    connection: sqlite3.Connection, batch: Batch, consumers: Mapping[str, int]
) -> None:
    (since,) = connection.execute(_LAST_POSITION).fetchone()
    rows = [
        (consumers[one.consumer], one.topic, 0 if one.from_start else since, batch.at)
        for one in batch.interests
    ]
    write_rows(connection, _ADD_INTERESTS, rows)


def _read_topics(connection: sqlite3.Connection, batch: Batch) -> dict[str, Topic]:
    # Read in every transaction: another server process may have written since the last one.
    names = topic_names(batch)
    found = read_rows(
        connection, "w.column1, t.topic_id, t.sequence", list(enumerate(names)), _FIND_TOPICS
    )
    return {names[n]: Topic(topic_id, sequence) for n, topic_id, sequence in found}


def _store_drafts(
    connection: sqlite3.Connection, batch: Batch, topics: dict[str, Topic], window: float
) -> tuple[list[Published], int]:
    """What became of the drafts, and the position of the last one stored (0: none was)."""
    recent = Recent(window)
    _read_recent(connection, batch.drafts, topics, recent)
    number_topics(connection, batch.drafts, topics)
    (not_before,) = connection.execute(_LAST_TIMESTAMP).fetchone() or (0.0,)
    ordered = order(batch, topics, recent, not_before)
    last_position = write_rows(connection, _ADD_MESSAGES, ordered.messages)
    write_rows(connection, _SET_TOPICS, ordered.topics, _ON_TOPIC)
    write_rows(connection, _ADD_PUBLISHERS, ordered.publishers, _ON_PUBLISHER)
    return ordered.published, last_position


def _read_recent(
    connection: sqlite3.Connection,
    drafts: Sequence[Draft],
    topics: Mapping[str, Topic],
    recent: Recent,
) -> None:
    """Find the messages that drafts may repeat."""
    if not recent.is_on:
        return
    wanted = [
        (n, topics[draft.topic].topic_id, draft.message_id, draft.fingerprint)
        for n, draft in enumerate(drafts)
        if draft.topic in topics
    ]
    for n, *stored in read_text_rows(connection, _RECENT_COLUMNS, wanted, _FIND_RECENT):
        recent.add_stored(drafts[n], *stored)
    read_identities(connection, drafts, wanted, recent)


def _store_claims(
    connection: sqlite3.Connection,
    batch: Batch,
    topics: Mapping[str, Topic],
    consumers: Mapping[str, int],
) -> list[int | None]:
    found = _find_claimed(connection, batch.claims, topics, consumers)
    counted = count_claims(batch, found, topics, consumers)
    rows = [(*key, batch.at) for key in counted.consumptions]
    last = write_rows(connection, _ADD_CONSUMPTIONS, rows)
    list_by_consumer(connection, last, LATE_CONSUMPTIONS)
    edges = [(*edge, batch.at) for edge in counted.readers]
    write_rows(connection, _ADD_READERS, edges, _ON_READER)
    note_told(connection, [edge[:2] for edge in counted.readers])
    return counted.claimed


def list_by_consumer(connection: sqlite3.Connection, last: int, late: int) -> None:
    """Put consumptions up to the last one into their consumers' lists, if so many are not yet."""
    (progress,) = connection.execute(_PROGRESS).fetchone()
    if last - progress >= late:
        connection.execute(_ADD_CONSUMED_BY, (progress,))
        connection.execute(_SET_PROGRESS, (last,))


def _find_claimed(
    connection: sqlite3.Connection,
    claims: Sequence[Claim],
    topics: Mapping[str, Topic],
    consumers: Mapping[str, int],
) -> list[tuple[int, int, int]]:
    """Each message that a claim speaks of: the claim's number, the sequence, if recorded before."""
    by_id: list[tuple[int, int, str, int]] = []
    by_sequence: list[tuple[int, int, str, int, int]] = []
    for n, claim in enumerate(claims):
        topic = topics.get(claim.topic)
        if topic is None:
            continue
        row = (n, topic.topic_id, claim.message_id, consumers[claim.consumer])
        if claim.sequence is None:
            by_id.append(row)
        elif 0 < claim.sequence <= LARGEST_INTEGER:
            by_sequence.append((*row, claim.sequence))
    found = read_rows(connection, _CLAIM_COLUMNS, by_sequence, _FIND_CLAIMED_SEQUENCE)
    found += read_rows(connection, _CLAIM_COLUMNS, by_id, _FIND_CLAIMED_ID)
    # In the order of the claims, so that of two that speak of one message the first one counts.
    found.sort()
    return found
