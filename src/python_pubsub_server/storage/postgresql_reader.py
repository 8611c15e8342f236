"""What is read from a PostgreSQL log. No query scans it: each walks an index from its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from . import sql
from .database import ReadFailed
from .postgresql_dialect import Dialect
from .postgresql_replay import PAGES
from .postgresql_rows import Connection, is_usable
from .postgresql_search import tsquery
from .search import keys_of
from .sql_reader import SQLReader

T = TypeVar("T")

_MESSAGE = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"

_NEWEST = f"""SELECT m.position, {_MESSAGE} FROM messages AS m
    JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE m.position < %(below)s {{where}} ORDER BY {{order}} DESC LIMIT %(limit)s"""
_ON_TOPIC = "AND m.topic_id = %(topic)s"
_UP_TO = "AND m.sequence <= %(last)s"
_OF_PRODUCER = "AND m.producer = %(name)s"
_CONSUMPTIONS = """SELECT c.position, n.consumer, t.topic, m.message_id, m.message, c.timestamp
    FROM consumptions AS c
    JOIN consumers AS n ON n.consumer_id = c.consumer_id
    JOIN topics AS t ON t.topic_id = c.topic_id
    JOIN messages AS m ON m.topic_id = c.topic_id AND m.sequence = c.sequence
    WHERE c.position < %(below)s {where} ORDER BY c.position DESC LIMIT %(limit)s"""
_CONSUMED_ON_TOPIC = "AND c.topic_id = %(topic)s"
_CONSUMED_BY = "AND c.consumer_id = %(name)s"
_SEARCH = f"""SELECT m.position, {_MESSAGE} FROM search AS s
    JOIN messages AS m ON m.position = s.position
    JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE s.words @@ %s::tsquery AND s.position < %s ORDER BY s.position DESC LIMIT %s"""
# In use first; those in the order of their keys, which does not change.
_IN_USE_FIRST = "least(last_at - %(since)s, 0) DESC, topic_id"
_PUBLISH_EDGES = f"""SELECT p.producer, t.topic, p.messages, p.last_at
    FROM (SELECT * FROM publishers ORDER BY {_IN_USE_FIRST}, producer LIMIT %(limit)s) AS p
    JOIN topics AS t ON t.topic_id = p.topic_id
    ORDER BY least(p.last_at - %(since)s, 0) DESC, p.topic_id, p.producer"""
# A consumption that was trimmed was of a message that is not kept: all that are kept came later.
_CONSUME_EDGES = f"""SELECT c.consumer, t.topic, r.consumptions, r.last_at,
    t.sequence - coalesce((SELECT n.sequence FROM consumptions AS n
        WHERE n.consumer_id = r.consumer_id AND n.topic_id = r.topic_id
        ORDER BY n.position DESC LIMIT 1), t.first - 1)
    FROM (SELECT * FROM readers ORDER BY {_IN_USE_FIRST}, consumer_id LIMIT %(limit)s) AS r
    JOIN topics AS t ON t.topic_id = r.topic_id
    JOIN consumers AS c ON c.consumer_id = r.consumer_id
    ORDER BY least(r.last_at - %(since)s, 0) DESC, r.topic_id, r.consumer_id"""


class PostgreSQLReader(SQLReader):
    """Reads through one connection that cannot write, opened when it is needed.

    Raises ReadFailed; the next read connects again where the connection is lost.
    """

    _pages = PAGES
    _indexed_query = _SEARCH
    _publish_edges_query = _PUBLISH_EDGES
    _consume_edges_query = _CONSUME_EDGES

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _newest_query(self, *, on_topic: bool, of_producer: bool) -> str:
        where = [_ON_TOPIC] if on_topic else []
        if of_producer:
            where.append(_OF_PRODUCER)
        elif on_topic:
            where.append(_UP_TO)
        order = "m.sequence" if on_topic and not of_producer else "m.position"
        return _NEWEST.format(where=" ".join(where), order=order)

    def _consumptions_query(self, *, on_topic: bool, of_consumer: bool) -> str:
        where = [_CONSUMED_ON_TOPIC] * on_topic + [_CONSUMED_BY] * of_consumer
        return _CONSUMPTIONS.format(where=" ".join(where))

    def _expression(self, wanted: list[str], topic: str | None, producer: str | None) -> str:
        return tsquery(wanted, keys_of(topic, producer))

    def _rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self._reading(lambda c: Dialect(c).execute(query, values).fetchall())

    def _snapshot(self, read: Callable[[sql.Connection], T]) -> T:
        """What several queries find in one state of the log."""

        def within(connection: Connection) -> T:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                return read(Dialect(connection))
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                return read(Dialect(connection))

        return self._reading(within)

    def _reading(self, read: Callable[[Connection], T]) -> T:
        try:
            if self._connection is None or not is_usable(self._connection):
                self.close()
                self._connection = self._connect()
            return read(self._connection)
        except psycopg.Error as error:
            if not isinstance(error, psycopg.errors.QueryCanceled):
                self.close()
            raise ReadFailed(" ".join(str(error).split())) from error
