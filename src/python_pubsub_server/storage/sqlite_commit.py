"""The SQL of a commit: a whole batch inside the transaction that the writer opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw

from ..model import Claim, Draft, Interest, Loss, Message, Published, Resent, SpanStart
from .database import Batch, Committed
from .multirow import read_rows, read_text_rows, write_rows
from .recent import Recent
from .sql_ledger import store_deliveries
from .sql_losses import note_told, read_identities
from .sql_votes import with_votes

LARGEST_INTEGER = 2**63 - 1

_T = TypeVar("_T")

_FIND_TOPICS = "CROSS JOIN topics AS t ON t.topic = w.column2"
_FIND_CONSUMERS = "CROSS JOIN consumers AS c ON c.consumer = w.column2"
_RECENT_COLUMNS = "w.column1, m.message_id, m.message, m.producer, m.timestamp, m.sequence"
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
_ADD_CONSUMERS = "INSERT INTO consumers (consumer_id, consumer)"
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


class _Topic(msgspec.Struct):
    """Where a topic stands while a batch is being stored."""

    topic_id: int
    sequence: int
    last_published_at: float = 0.0


def store(connection: sqlite3.Connection, batch: Batch, window: float) -> Committed:
    """Store a batch; drafts that repeat one of the last `window` seconds are not stored again."""
    batch, voted = with_votes(connection, batch)
    consumers = _read_consumers(connection, batch)
    if batch.interests:
        _store_interests(connection, batch.interests, consumers, batch.at)
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


def _named(batch: Batch, kind: type[_T]) -> Iterator[_T]:
    return (one for one in batch.deliveries if isinstance(one, kind))


def _read_topics(connection: sqlite3.Connection, batch: Batch) -> dict[str, _Topic]:
    # Read in every transaction: another server process may have written since the last one.
    asking: Iterable[Draft | Claim | Resent | Loss] = (
        *batch.drafts,
        *batch.claims,
        *_named(batch, Resent),
        *_named(batch, Loss),
    )
    names = list({one.topic: None for one in asking})
    found = read_rows(
        connection, "w.column1, t.topic_id, t.sequence", list(enumerate(names)), _FIND_TOPICS
    )
    return {names[n]: _Topic(topic_id, sequence) for n, topic_id, sequence in found}


def _store_drafts(
    connection: sqlite3.Connection, batch: Batch, topics: dict[str, _Topic], window: float
) -> tuple[list[Published], int]:
    """What became of the drafts, and the position of the last one stored (0: none was)."""
    recent = Recent(window)
    _read_recent(connection, batch.drafts, topics, recent)
    may_repeat = recent.may_know(batch.drafts)
    _number_new_topics(connection, batch.drafts, topics)
    published: list[Published] = []
    rows: list[tuple[int, int, str, str, str, float, int]] = []
    totals: dict[tuple[int, str], list[float]] = {}
    changed: dict[str, _Topic] = {}
    # Time does not go back in a log, also where the clocks of its nodes differ.
    (not_before,) = connection.execute(_LAST_TIMESTAMP).fetchone() or (0.0,)
    for draft, arrived_at in zip(batch.drafts, batch.arrived_at, strict=True):
        at = arrived_at if arrived_at > not_before else not_before
        if may_repeat and (earlier := recent.earlier(draft, at)) is not None:
            published.append(Published(earlier, True))
            continue
        # The busiest loop of a batch: nothing is looked up twice.
        name, message_id, producer, content = (
            draft.topic,
            draft.message_id,
            draft.producer,
            draft.message,
        )
        topic = changed[name] = topics[name]
        topic.sequence = sequence = topic.sequence + 1
        topic.last_published_at = at
        message = Message(name, message_id, content, producer, at, sequence)
        if may_repeat:
            recent.add(draft, message)
        published.append(Published(message, False))
        topic_id, text = topic.topic_id, str(content, "utf-8")
        rows.append((topic_id, sequence, message_id, text, producer, at, draft.fingerprint))
        total = totals.get((topic_id, producer))
        if total is None:
            totals[topic_id, producer] = [1, at]
        else:
            total[0] += 1
            total[1] = at
    last_position = write_rows(connection, _ADD_MESSAGES, rows)
    positions = [
        (topic.topic_id, name, topic.sequence, topic.last_published_at)
        for name, topic in changed.items()
    ]
    write_rows(connection, _SET_TOPICS, positions, _ON_TOPIC)
    edges = [(*key, int(count), last_at) for key, (count, last_at) in totals.items()]
    write_rows(connection, _ADD_PUBLISHERS, edges, _ON_PUBLISHER)
    return published, last_position


def _number_new_topics(
    connection: sqlite3.Connection, drafts: Sequence[Draft], topics: dict[str, _Topic]
) -> None:
    new = [name for name in {draft.topic: None for draft in drafts} if name not in topics]
    if new:
        (last,) = connection.execute("SELECT coalesce(max(topic_id), 0) FROM topics").fetchone()
        for topic_id, name in enumerate(new, start=last + 1):
            topics[name] = _Topic(topic_id, 0)


def _read_recent(
    connection: sqlite3.Connection,
    drafts: Sequence[Draft],
    topics: dict[str, _Topic],
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
    for n, message_id, text, producer, timestamp, sequence in read_text_rows(
        connection, _RECENT_COLUMNS, wanted, _FIND_RECENT
    ):
        draft = drafts[n]
        recent.add(
            draft, Message(draft.topic, message_id, Raw(text), producer, timestamp, sequence)
        )
    read_identities(connection, drafts, wanted, recent)


def _read_consumers(connection: sqlite3.Connection, batch: Batch) -> dict[str, int]:
    """The numbers of the batch's consumers; new ones get theirs here."""
    asking: Iterable[Claim | Interest | SpanStart | Resent | Loss] = (
        *batch.interests,
        *batch.claims,
        *_named(batch, SpanStart),
        *_named(batch, Resent),
        *_named(batch, Loss),
    )
    names = list({one.consumer: None for one in asking})
    if not names:
        return {}
    found = read_rows(
        connection, "w.column1, c.consumer_id", list(enumerate(names)), _FIND_CONSUMERS
    )
    consumers = {names[n]: consumer_id for n, consumer_id in found}
    new = [name for name in names if name not in consumers]
    if new:
        (last,) = connection.execute(
            "SELECT coalesce(max(consumer_id), 0) FROM consumers"
        ).fetchone()
        numbered = list(enumerate(new, start=last + 1))
        write_rows(connection, _ADD_CONSUMERS, numbered)
        consumers.update((name, consumer_id) for consumer_id, name in numbered)
    return consumers


def _store_interests(
    connection: sqlite3.Connection,
    interests: Sequence[Interest],
    consumers: dict[str, int],
    at: float,
) -> None:
    (since,) = connection.execute(_LAST_POSITION).fetchone()
    rows = [
        (consumers[one.consumer], one.topic, 0 if one.from_start else since, at)
        for one in interests
    ]
    write_rows(connection, _ADD_INTERESTS, rows)


def _store_claims(
    connection: sqlite3.Connection,
    batch: Batch,
    topics: dict[str, _Topic],
    consumers: dict[str, int],
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
            edge = (key[0], key[2])
            totals[edge] = totals.get(edge, 0) + 1
    write_rows(connection, _ADD_CONSUMPTIONS, [(*key, batch.at) for key in new])
    edges = [(*edge, count, batch.at) for edge, count in totals.items()]
    write_rows(connection, _ADD_READERS, edges, _ON_READER)
    note_told(connection, list(totals))
    return claimed


def _find_claimed(
    connection: sqlite3.Connection,
    claims: Sequence[Claim],
    topics: dict[str, _Topic],
    consumers: dict[str, int],
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
