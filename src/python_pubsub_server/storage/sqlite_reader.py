"""What is read from an SQLite log. No query scans it: each walks an index from its start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec import Raw

from ..model import Consumption, Edge, Message, TopicPosition, TopicSummary, matches
from .database import ReadFailed
from .search import indexed_words, is_found, match_expression, query_words

LARGEST_INTEGER = 2**63 - 1

_LAST_TIMESTAMP = "SELECT timestamp FROM messages ORDER BY position DESC LIMIT 1"
_POSITION = "SELECT topic, sequence, first FROM topics WHERE topic = ?"
_POSITIONS = "SELECT topic, sequence, first FROM topics WHERE topic >= ? AND topic < ?"
_ALL_POSITIONS = "SELECT topic, sequence, first FROM topics"
_TOPICS = """SELECT topic, sequence, sequence - first + 1,
    (SELECT count(*) FROM publishers AS p WHERE p.topic_id = t.topic_id), last_published_at
    FROM topics AS t ORDER BY topic"""
_MESSAGE = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"
_LOG = f"""SELECT {_MESSAGE}
    FROM topics AS t CROSS JOIN messages AS m ON m.topic_id = t.topic_id
    WHERE t.topic = ? AND m.sequence > ? ORDER BY m.sequence LIMIT ?"""
_TOPIC_ID = "SELECT topic_id FROM topics WHERE topic = ?"
_CONSUMER_ID = "SELECT consumer_id FROM consumers WHERE consumer = ?"
_PROGRESS = "SELECT position FROM search_progress"
_SEARCH = f"""SELECT m.position, {_MESSAGE} FROM search
    CROSS JOIN messages AS m ON m.position = search.rowid
    CROSS JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE search MATCH ? AND search.rowid < ? ORDER BY search.rowid DESC LIMIT ?"""
_PUBLISH_EDGES = """SELECT p.producer, t.topic, p.messages, p.last_at
    FROM publishers AS p INDEXED BY publishers_by_time
    CROSS JOIN topics AS t ON t.topic_id = p.topic_id ORDER BY p.last_at DESC LIMIT ?"""
_CONSUME_EDGES = """SELECT c.consumer, t.topic, r.consumptions, r.last_at
    FROM readers AS r INDEXED BY readers_by_time
    CROSS JOIN topics AS t ON t.topic_id = r.topic_id
    CROSS JOIN consumers AS c ON c.consumer_id = r.consumer_id
    ORDER BY r.last_at DESC LIMIT ?"""

# A search looks through this many of the newest messages itself. A common word is found there,
# so that the index is only asked for words that are rare.
_SCAN_AT_LEAST = 2_000
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

    def log(self, topic: str, after: int, limit: int) -> list[Message]:
        return [message_of(row) for row in self._rows(_LOG, topic, _whole(after), _whole(limit))]

    def messages(
        self,
        limit: int,
        topic: str | None = None,
        producer: str | None = None,
        text: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Message]]:
        below = LARGEST_INTEGER if before is None else _whole(before)
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
        below = LARGEST_INTEGER if before is None else _whole(before)
        conditions, values = ["c.position < ?"], [below]
        for column, query, name in (
            ("c.topic_id", _TOPIC_ID, topic),
            ("c.consumer_id", _CONSUMER_ID, consumer),
        ):
            if name is not None:
                rows = self._rows(query, name)
                if not rows:
                    return []
                conditions.append(f"{column} = ?")
                values.append(rows[0][0])
        found = self._rows(
            f"""SELECT c.position, n.consumer, t.topic, m.message_id, m.message, c.timestamp
            FROM consumptions AS c {_consumption_index(topic, consumer)}
            CROSS JOIN consumers AS n ON n.consumer_id = c.consumer_id
            CROSS JOIN topics AS t ON t.topic_id = c.topic_id
            CROSS JOIN messages AS m ON m.topic_id = c.topic_id AND m.sequence = c.sequence
            WHERE {" AND ".join(conditions)} ORDER BY c.position DESC LIMIT ?""",
            *values,
            _whole(limit),
        )
        return [
            (position, Consumption(name, where, message_id, Raw(message), timestamp))
            for position, name, where, message_id, message, timestamp in found
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
        conditions, values = ["m.position < ?"], [below]
        if topic is not None:
            rows = self._rows(_TOPIC_ID, topic)
            if not rows:
                return []
            conditions.append("m.topic_id = ?")
            values.append(rows[0][0])
        if producer is not None:
            conditions.append("m.producer = ?")
            values.append(producer)
        found = self._rows(
            f"""SELECT m.position, {_MESSAGE} FROM messages AS m {_message_index(topic, producer)}
            CROSS JOIN topics AS t ON t.topic_id = m.topic_id
            WHERE {" AND ".join(conditions)} ORDER BY m.position DESC LIMIT ?""",
            *values,
            limit,
        )
        return [(row[0], message_of(row[1:])) for row in found]

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

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ReadFailed(str(error)) from error


def _message_index(topic: str | None, producer: str | None) -> str:
    """Named, because SQLite would choose by statistics that it does not have."""
    if topic is None:
        return "NOT INDEXED" if producer is None else "INDEXED BY messages_by_producer"
    if producer is None:
        return "INDEXED BY messages_by_topic"
    return "INDEXED BY messages_by_topic_and_producer"


def _consumption_index(topic: str | None, consumer: str | None) -> str:
    if topic is None:
        return "NOT INDEXED" if consumer is None else "INDEXED BY consumptions_by_consumer"
    if consumer is None:
        return "INDEXED BY consumptions_by_topic"
    return "INDEXED BY consumptions_by_topic_and_consumer"


def message_of(row: tuple[Any, ...]) -> Message:
    topic, message_id, text, producer, timestamp, sequence = row
    return Message(topic, message_id, Raw(text), producer, timestamp, sequence)


def _whole(number: int) -> int:
    """A number that SQLite takes: clients may send any."""
    return max(0, min(number, LARGEST_INTEGER))
