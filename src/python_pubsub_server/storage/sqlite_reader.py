"""What is read from an SQLite log. No query scans it: each walks an index from its start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import Raw

from ..model import (
    Consumption,
    Edge,
    Explanation,
    Ledger,
    Message,
    Page,
    TopicPosition,
    TopicSummary,
    matches,
)
from .database import Here, Reader, ReadFailed
from .search import indexed_words, is_found, match_expression, query_words
from .sqlite_ledger import explain, read_ledger
from .sqlite_replay import count_unconsumed, log_page, unconsumed_page
from .sqlite_rows import LARGEST_INTEGER, last_below, message_of

T = TypeVar("T")

_LAST_POSITION = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
_LAST_TIMESTAMP = "SELECT timestamp FROM messages ORDER BY position DESC LIMIT 1"
_POSITION = "SELECT topic, sequence, first FROM topics WHERE topic = ?"
_POSITIONS = "SELECT topic, sequence, first FROM topics WHERE topic >= ? AND topic < ?"
_ALL_POSITIONS = "SELECT topic, sequence, first FROM topics"
_TOPICS = """SELECT topic, sequence, sequence - first + 1,
    (SELECT count(*) FROM publishers AS p WHERE p.topic_id = t.topic_id), last_published_at
    FROM topics AS t ORDER BY topic"""
_TOPIC_COUNT = "SELECT count(*) FROM topics"
_MESSAGE = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"
_TOPIC_ID = "SELECT topic_id FROM topics WHERE topic = ?"
_CONSUMER_ID = "SELECT consumer_id FROM consumers WHERE consumer = ?"
_TOPIC = "SELECT topic_id, sequence, first FROM topics WHERE topic = ?"

# The positions of what is listed, newest first; what is shown is then looked up by position.
_SHOW_MESSAGES = f"""SELECT m.position, {_MESSAGE} FROM ({{}}) AS l
    CROSS JOIN messages AS m ON m.position = l.position
    CROSS JOIN topics AS t ON t.topic_id = m.topic_id ORDER BY m.position DESC"""
_SHOW_CONSUMPTIONS = """SELECT c.position, n.consumer, t.topic, m.message_id, m.message, c.timestamp
    FROM ({}) AS l CROSS JOIN consumptions AS c ON c.position = l.position
    CROSS JOIN consumers AS n ON n.consumer_id = c.consumer_id
    CROSS JOIN topics AS t ON t.topic_id = c.topic_id
    CROSS JOIN messages AS m ON m.topic_id = c.topic_id AND m.sequence = c.sequence
    ORDER BY c.position DESC"""
_MESSAGES = "SELECT position FROM messages WHERE position < :below ORDER BY 1 DESC LIMIT :limit"
_MESSAGES_ON_TOPIC = """SELECT position FROM messages INDEXED BY messages_by_sequence
    WHERE topic_id = :topic AND sequence <= :last ORDER BY sequence DESC LIMIT :limit"""
_CONSUMPTIONS = _MESSAGES.replace("messages", "consumptions")
_CONSUMPTIONS_ON_TOPIC = """SELECT position FROM consumptions INDEXED BY consumptions_by_topic
    WHERE topic_id = :topic AND position < :below ORDER BY position DESC LIMIT :limit"""
_OF_ONE_ON_TOPIC = """SELECT position FROM {table} INDEXED BY {index}
    WHERE {name} = :name AND topic_id = :topic AND position < :below
    ORDER BY position DESC LIMIT :limit"""
# The index leads to one topic's newest. To list them over all topics, merge the topics: each step
# takes the newest of the queue, and puts the next older one of the same topic into it.
_OF_ONE = """WITH RECURSIVE
    own (topic_id) AS (
        SELECT min(topic_id) FROM {table} WHERE {name} = :name
        UNION ALL
        SELECT (SELECT min(topic_id) FROM {table}
                WHERE {name} = :name AND topic_id > own.topic_id)
        FROM own WHERE own.topic_id IS NOT NULL
    ),
    queue (position, topic_id) AS (
        SELECT (SELECT max(position) FROM {table} INDEXED BY {index}
                WHERE {name} = :name AND topic_id = own.topic_id AND position < :below), topic_id
        FROM own WHERE topic_id IS NOT NULL
        UNION ALL
        SELECT (SELECT max(position) FROM {table} INDEXED BY {index}
                WHERE {name} = :name AND topic_id = queue.topic_id
                AND position < queue.position), topic_id
        FROM queue WHERE position IS NOT NULL
        ORDER BY 1 DESC LIMIT :limit
    )
    SELECT position FROM queue WHERE position IS NOT NULL"""
_BY_PRODUCER = {"table": "messages", "name": "producer", "index": "messages_by_producer"}
_BY_CONSUMER = {"table": "consumptions", "name": "consumer_id", "index": "consumptions_by_consumer"}
_OF_PRODUCER = _OF_ONE.format_map(_BY_PRODUCER)
_OF_PRODUCER_ON_TOPIC = _OF_ONE_ON_TOPIC.format_map(_BY_PRODUCER)
_OF_CONSUMER = _OF_ONE.format_map(_BY_CONSUMER)
_OF_CONSUMER_ON_TOPIC = _OF_ONE_ON_TOPIC.format_map(_BY_CONSUMER)

_PROGRESS = "SELECT position FROM search_progress"
_SEARCH = f"""SELECT m.position, {_MESSAGE} FROM search
    CROSS JOIN messages AS m ON m.position = search.rowid
    CROSS JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE search MATCH ? AND search.rowid < ? ORDER BY search.rowid DESC LIMIT ?"""
_PUBLISH_EDGES = """SELECT p.producer, t.topic, p.messages, p.last_at
    FROM publishers AS p
    CROSS JOIN topics AS t ON t.topic_id = p.topic_id ORDER BY p.last_at DESC LIMIT ?"""
_CONSUME_EDGES = """SELECT c.consumer, t.topic, r.consumptions, r.last_at
    FROM readers AS r
    CROSS JOIN topics AS t ON t.topic_id = r.topic_id
    CROSS JOIN consumers AS c ON c.consumer_id = r.consumer_id
    ORDER BY r.last_at DESC LIMIT ?"""

# A search looks through this many of the newest messages itself. A common word is found there,
# so that the index is only asked for words that are rare.
_SCAN_AT_LEAST = 1_500
# ... and through at most this many of those that the index does not have yet.
_SCAN_AT_MOST = 20_000
_SCAN_PAGE = 500


class SQLiteReader:
    """Reads through one connection that cannot write. Raises ReadFailed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ping(self) -> None:
        self._rows("SELECT epoch FROM log")

    def last_timestamp(self) -> float:
        rows = self._rows(_LAST_TIMESTAMP)
        return float(rows[0][0]) if rows else 0.0

    def position(self, topic: str) -> TopicPosition:
        rows = self._rows(_POSITION, topic)
        return TopicPosition(*rows[0]) if rows else TopicPosition(topic, 0, 1)

    def positions(self, pattern: str) -> list[TopicPosition]:
        if not pattern.endswith("*"):
            rows = self._rows(_POSITION, pattern)
        elif pattern == "*":
            rows = self._rows(f"{_ALL_POSITIONS} ORDER BY topic")
        else:
            prefix = pattern[:-1]
            # Greater than every topic that has the prefix: topics have at most 200 characters.
            end = prefix + "\U0010ffff" * 201
            rows = self._rows(f"{_POSITIONS} ORDER BY topic", prefix, end)
        return [TopicPosition(*row) for row in rows if matches(pattern, row[0])]

    def topics(self) -> list[TopicSummary]:
        return [TopicSummary(*row) for row in self._rows(_TOPICS)]

    def topic_count(self) -> int:
        return int(self._rows(_TOPIC_COUNT)[0][0])

    def snapshot(self, read: Callable[[Reader], T]) -> T:
        return self._snapshot(lambda _: read(self))

    def last_position(self) -> int:
        rows = self._rows(_LAST_POSITION)
        return int(rows[0][0]) if rows else 0

    def log(self, topic: str, after: int, limit: int, max_bytes: int) -> Page:
        return self._snapshot(lambda c: log_page(c, topic, _whole(after), limit, max_bytes))

    def unconsumed(
        self, consumer: str, topic: str, after: int, last: int, limit: int, max_bytes: int
    ) -> Page:
        return self._snapshot(
            lambda c: unconsumed_page(c, consumer, topic, after, last, limit, max_bytes)
        )

    def count_unconsumed(self, consumer: str, topic: str, limit: int) -> int:
        return self._snapshot(lambda c: count_unconsumed(c, consumer, topic, limit))

    def ledger(self, topic: str, sequence: int, here: Here) -> Ledger | None:
        return self._snapshot(lambda c: read_ledger(c, topic, _whole(sequence), here))

    def explain(self, topic: str, sequence: int, consumer: str, here: Here) -> Explanation:
        return self._snapshot(lambda c: explain(c, topic, _whole(sequence), consumer, here))

    def messages(
        self,
        limit: int,
        topic: str | None = None,
        producer: str | None = None,
        text: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Message]]:
        below = _below(before)
        if text is None or not text.strip():
            return self._newest(_whole(limit), topic, producer, below)
        wanted = query_words(text)
        return self._search(_whole(limit), topic, producer, wanted, below) if wanted else []

    def consumptions(
        self,
        limit: int,
        topic: str | None = None,
        consumer: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Consumption]]:
        values: dict[str, Any] = {"below": _below(before), "limit": _whole(limit)}
        for key, query, name in (("topic", _TOPIC_ID, topic), ("name", _CONSUMER_ID, consumer)):
            if name is not None:
                rows = self._rows(query, name)
                if not rows:
                    return []
                values[key] = rows[0][0]
        if consumer is not None:
            positions = _OF_CONSUMER if topic is None else _OF_CONSUMER_ON_TOPIC
        else:
            positions = _CONSUMPTIONS if topic is None else _CONSUMPTIONS_ON_TOPIC
        return [
            (row[0], Consumption(row[1], row[2], row[3], Raw(row[4]), row[5]))
            for row in self._named(_SHOW_CONSUMPTIONS.format(positions), values)
        ]

    def publish_edges(self, limit: int) -> list[Edge]:
        return [Edge(*row) for row in self._rows(_PUBLISH_EDGES, _whole(limit))]

    def consume_edges(self, limit: int) -> list[Edge]:
        return [Edge(*row) for row in self._rows(_CONSUME_EDGES, _whole(limit))]

    def close(self) -> None:
        self._connection.close()

    def _newest(
        self, limit: int, topic: str | None, producer: str | None, below: int
    ) -> list[tuple[int, Message]]:
        values: dict[str, Any] = {"below": below, "limit": limit, "name": producer}
        if topic is not None:
            rows = self._rows(_TOPIC, topic)
            if not rows:
                return []
            values["topic"], sequence, first = rows[0]
            if producer is None:
                values["last"] = last_below(
                    self._connection, values["topic"], first, sequence, below
                )
        if producer is not None:
            positions = _OF_PRODUCER if topic is None else _OF_PRODUCER_ON_TOPIC
        else:
            positions = _MESSAGES if topic is None else _MESSAGES_ON_TOPIC
        rows = self._named(_SHOW_MESSAGES.format(positions), values)
        return [(row[0], message_of(row[1:])) for row in rows]

    def _search(
        self, limit: int, topic: str | None, producer: str | None, wanted: list[str], below: int
    ) -> list[tuple[int, Message]]:
        progress = self._rows(_PROGRESS)[0][0]
        found: list[tuple[int, Message]] = []
        for scanned, (position, message) in enumerate(self._walk(topic, producer, below)):
            is_indexed = position <= progress
            if scanned >= (_SCAN_AT_LEAST if is_indexed else _SCAN_AT_MOST):
                break
            below = position
            if is_found(wanted, indexed_words(message)):
                found.append((position, message))
                if len(found) == limit:
                    return found
        else:
            return found
        expression = match_expression(wanted, topic, producer)
        below = min(below, progress + 1)
        rows = self._rows(_SEARCH, expression, below, limit - len(found))
        return found + [(row[0], message_of(row[1:])) for row in rows]

    def _walk(
        self, topic: str | None, producer: str | None, below: int
    ) -> Iterator[tuple[int, Message]]:
        while page := self._newest(_SCAN_PAGE, topic, producer, below):
            yield from page
            below = page[-1][0]

    def _snapshot(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What several queries find in one state of the log."""
        if self._connection.in_transaction:
            return read(self._connection)
        try:
            self._connection.execute("BEGIN")
            try:
                return read(self._connection)
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise ReadFailed(str(error)) from error

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._named(sql, values)

    def _named(self, sql: str, values: dict[str, Any] | tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ReadFailed(str(error)) from error


def _below(before: int | None) -> int:
    return LARGEST_INTEGER if before is None else _whole(before)


def _whole(number: int) -> int:
    """A number that SQLite takes: clients may send any."""
    return max(0, min(number, LARGEST_INTEGER))
