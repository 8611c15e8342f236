"""What is read from a PostgreSQL log. No query scans it: each walks an index from its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from msgspec import Raw
from psycopg.pq import TransactionStatus

from ..model import (
    Consumption,
    Edge,
    Message,
    Page,
    Stretch,
)
from . import sql
from .database import Reader, ReadFailed
from .postgresql_dialect import Dialect
from .postgresql_replay import count_unconsumed, log_page, stretch, unconsumed_page
from .postgresql_rows import Connection, is_usable
from .postgresql_search import tsquery
from .search import keys_of
from .sql_reader import SQLReader
from .sql_rows import below_of, last_below, message_of, whole

T = TypeVar("T")

_LAST_POSITION = "SELECT position FROM log"
_TOPIC = "SELECT topic_id, sequence, first FROM topics WHERE topic = %s"
_TOPIC_ID = "SELECT topic_id FROM topics WHERE topic = %s"
_CONSUMER_ID = "SELECT consumer_id FROM consumers WHERE consumer = %s"
_MESSAGE = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"

_NEWEST = f"""SELECT m.position, {_MESSAGE} FROM messages AS m
    JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE m.position < %(below)s {{where}} ORDER BY {{order}} DESC LIMIT %(limit)s"""
_ON_TOPIC = "AND m.topic_id = %(topic)s AND m.sequence <= %(last)s"
_OF_PRODUCER = "AND m.producer = %(producer)s"
_CONSUMPTIONS = """SELECT c.position, n.consumer, t.topic, m.message_id, m.message, c.timestamp
    FROM consumptions AS c
    JOIN consumers AS n ON n.consumer_id = c.consumer_id
    JOIN topics AS t ON t.topic_id = c.topic_id
    JOIN messages AS m ON m.topic_id = c.topic_id AND m.sequence = c.sequence
    WHERE c.position < %(below)s {where} ORDER BY c.position DESC LIMIT %(limit)s"""
_CONSUMED_ON_TOPIC = "AND c.topic_id = %(topic)s"
_CONSUMED_BY = "AND c.consumer_id = %(consumer)s"
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

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def snapshot(self, read: Callable[[Reader], T]) -> T:
        return self._snapshot(lambda _: read(self))

    def last_position(self) -> int:
        return int(self._rows(_LAST_POSITION)[0][0])

    def stretch(self, after: int, limit: int, max_bytes: int) -> Stretch:
        return self._snapshot(lambda c: stretch(c, whole(after), limit, max_bytes))

    def log(self, topic: str, after: int, limit: int, max_bytes: int) -> Page:
        return self._snapshot(lambda c: log_page(c, topic, whole(after), limit, max_bytes))

    def unconsumed(
        self, consumer: str, topic: str, after: int, last: int, limit: int, max_bytes: int
    ) -> Page:
        return self._snapshot(
            lambda c: unconsumed_page(
                c, consumer, topic, whole(after), whole(last), limit, max_bytes
            )
        )

    def count_unconsumed(self, consumer: str, topic: str, limit: int) -> int:
        return self._snapshot(lambda c: count_unconsumed(c, consumer, topic, limit))

    def consumptions(
        self,
        limit: int,
        topic: str | None = None,
        consumer: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Consumption]]:
        values: dict[str, Any] = {"below": below_of(before), "limit": whole(limit)}
        where = []
        for key, query, name, condition in (
            ("topic", _TOPIC_ID, topic, _CONSUMED_ON_TOPIC),
            ("consumer", _CONSUMER_ID, consumer, _CONSUMED_BY),
        ):
            if name is not None:
                rows = self._rows(query, (name,))
                if not rows:
                    return []
                values[key] = rows[0][0]
                where.append(condition)
        return [
            (row[0], Consumption(row[1], row[2], row[3], Raw(row[4]), row[5]))
            for row in self._rows(_CONSUMPTIONS.format(where=" ".join(where)), values)
        ]

    def publish_edges(self, limit: int, since: float) -> list[Edge]:
        values = {"limit": whole(limit), "since": since}
        return [Edge(*row) for row in self._rows(_PUBLISH_EDGES, values)]

    def consume_edges(self, limit: int, since: float) -> list[Edge]:
        values = {"limit": whole(limit), "since": since}
        return [Edge(*row) for row in self._rows(_CONSUME_EDGES, values)]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _newest(
        self, limit: int, topic: str | None, producer: str | None, below: int
    ) -> list[tuple[int, Message]]:
        values: dict[str, Any] = {"below": below, "limit": limit, "producer": producer}
        where, order = [], "m.position"
        if topic is not None:
            rows = self._rows(_TOPIC, (topic,))
            if not rows:
                return []
            values["topic"], sequence, first = rows[0]
            values["last"] = self._snapshot(
                lambda c: last_below(c, values["topic"], first, sequence, below)
            )
            where.append(_ON_TOPIC)
            order = "m.sequence"
        if producer is not None:
            where.append(_OF_PRODUCER)
            order = "m.position"
        query = _NEWEST.format(where=" ".join(where), order=order)
        return [(row[0], message_of(row[1:])) for row in self._rows(query, values)]

    def _indexed(
        self, wanted: list[str], topic: str | None, producer: str | None, below: int, limit: int
    ) -> list[tuple[int, Message]]:
        query = tsquery(wanted, keys_of(topic, producer))
        rows = self._rows(_SEARCH, (query, below, limit))
        return [(row[0], message_of(row[1:])) for row in rows]

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
