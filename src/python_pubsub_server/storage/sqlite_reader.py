"""What is read from an SQLite log. No query scans it: each walks an index from its start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from . import sql
from .database import ReadFailed
from .search import match_expression
from .sql_reader import SQLReader
from .sqlite_replay import PAGES

T = TypeVar("T")

_MESSAGE = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"

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
_OF_ONE_ON_TOPIC = """SELECT position FROM {table}
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
        SELECT (SELECT max(position) FROM {table}
                WHERE {name} = :name AND topic_id = own.topic_id AND position < :below), topic_id
        FROM own WHERE topic_id IS NOT NULL
        UNION ALL
        SELECT (SELECT max(position) FROM {table}
                WHERE {name} = :name AND topic_id = queue.topic_id
                AND position < queue.position), topic_id
        FROM queue WHERE position IS NOT NULL
        ORDER BY 1 DESC LIMIT :limit
    )
    SELECT position FROM queue WHERE position IS NOT NULL"""
_BY_PRODUCER = {"table": "messages INDEXED BY messages_by_producer", "name": "producer"}
_BY_CONSUMER = {"table": "consumed_by", "name": "consumer_id"}
_OF_PRODUCER = _OF_ONE.format_map(_BY_PRODUCER)
_OF_PRODUCER_ON_TOPIC = _OF_ONE_ON_TOPIC.format_map(_BY_PRODUCER)
# The newest consumptions, less than a thousand, are in no list by consumer yet.
_LATE = "position > (SELECT position FROM consumed_by_progress)"
_LATE_OF_CONSUMER = f"""SELECT position FROM consumptions NOT INDEXED
    WHERE {_LATE} AND position < :below AND consumer_id = :name"""
_WITH_LATE = """SELECT position FROM (
    SELECT position FROM ({late})
    UNION ALL SELECT position FROM ({listed})
    ) ORDER BY position DESC LIMIT :limit"""
_OF_CONSUMER = _WITH_LATE.format(late=_LATE_OF_CONSUMER, listed=_OF_ONE.format_map(_BY_CONSUMER))
_OF_CONSUMER_ON_TOPIC = _WITH_LATE.format(
    late=f"{_LATE_OF_CONSUMER} AND topic_id = :topic",
    listed=_OF_ONE_ON_TOPIC.format_map(_BY_CONSUMER),
)

_SEARCH = f"""SELECT m.position, {_MESSAGE} FROM search
    CROSS JOIN messages AS m ON m.position = search.rowid
    CROSS JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE search MATCH ? AND search.rowid < ? ORDER BY search.rowid DESC LIMIT ?"""
# In use first; those in the order of their keys, which does not change.
_IN_USE_FIRST = "min(last_at - :since, 0.0) DESC, topic_id"
_PUBLISH_EDGES = f"""SELECT p.producer, t.topic, p.messages, p.last_at
    FROM (SELECT * FROM publishers ORDER BY {_IN_USE_FIRST}, producer LIMIT :limit) AS p
    CROSS JOIN topics AS t ON t.topic_id = p.topic_id"""
# A consumption that was trimmed was of a message that is not kept: all that are kept came later.
_CONSUME_EDGES = f"""WITH late AS MATERIALIZED (
        SELECT topic_id, consumer_id, max(position) AS position
        FROM consumptions NOT INDEXED WHERE {_LATE} GROUP BY topic_id, consumer_id
    )
    SELECT c.consumer, t.topic, r.consumptions, r.last_at,
    t.sequence - coalesce((SELECT n.sequence FROM consumptions AS n
        WHERE n.position = coalesce(l.position, (SELECT o.position FROM consumed_by AS o
            WHERE o.consumer_id = r.consumer_id AND o.topic_id = r.topic_id
            ORDER BY o.position DESC LIMIT 1))), t.first - 1)
    FROM (SELECT * FROM readers ORDER BY {_IN_USE_FIRST}, consumer_id LIMIT :limit) AS r
    CROSS JOIN topics AS t ON t.topic_id = r.topic_id
    CROSS JOIN consumers AS c ON c.consumer_id = r.consumer_id
    LEFT JOIN late AS l ON l.topic_id = r.topic_id AND l.consumer_id = r.consumer_id"""


class SQLiteReader(SQLReader):
    """Reads through one connection that cannot write. Raises ReadFailed."""

    _pages = PAGES
    _indexed_query = _SEARCH
    _publish_edges_query = _PUBLISH_EDGES
    _consume_edges_query = _CONSUME_EDGES

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def _newest_query(self, *, on_topic: bool, of_producer: bool) -> str:
        if of_producer:
            return _SHOW_MESSAGES.format(_OF_PRODUCER_ON_TOPIC if on_topic else _OF_PRODUCER)
        return _SHOW_MESSAGES.format(_MESSAGES_ON_TOPIC if on_topic else _MESSAGES)

    def _consumptions_query(self, *, on_topic: bool, of_consumer: bool) -> str:
        if of_consumer:
            return _SHOW_CONSUMPTIONS.format(_OF_CONSUMER_ON_TOPIC if on_topic else _OF_CONSUMER)
        return _SHOW_CONSUMPTIONS.format(_CONSUMPTIONS_ON_TOPIC if on_topic else _CONSUMPTIONS)

    def _expression(self, wanted: list[str], topic: str | None, producer: str | None) -> str:
        return match_expression(wanted, topic, producer)

    def _snapshot(self, read: Callable[[sql.Connection], T]) -> T:
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

    def _rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise ReadFailed(str(error)) from error
