"""What a subscriber missed, read a page at a time from a PostgreSQL log."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..model import Page, Stretch
from .sql import Connection
from .sql_owed import owed
from .sql_rows import message_of

# `row` and `bytes` run over the rows in order; a row more than wanted tells that there is more.
_PAGE = """SELECT topic, message_id, message, producer, timestamp, sequence, found FROM (
        SELECT *, row_number() OVER by_sequence AS row, count(*) OVER () AS found,
            sum(octet_length(message) + 200) OVER by_sequence AS bytes
        FROM ({rows} ORDER BY m.sequence LIMIT %(limit)s + 1) AS r
        WINDOW by_sequence AS (ORDER BY sequence)
    ) AS p WHERE row <= %(limit)s AND (row = 1 OR bytes <= %(max_bytes)s) ORDER BY sequence"""
_COLUMNS = "t.topic, m.message_id, m.message, m.producer, m.timestamp, m.sequence"
_LOG = f"""SELECT {_COLUMNS} FROM topics AS t JOIN messages AS m ON m.topic_id = t.topic_id
    WHERE t.topic = %(topic)s AND m.sequence > %(after)s"""
_UNCONSUMED_FROM = """FROM topics AS t JOIN messages AS m ON m.topic_id = t.topic_id
    WHERE t.topic_id = %(topic_id)s AND m.sequence > %(after)s AND m.sequence <= %(last)s
    AND NOT EXISTS (SELECT 1 FROM consumptions AS c WHERE c.topic_id = m.topic_id
        AND c.sequence = m.sequence AND c.consumer_id = %(consumer_id)s)"""
_LOG_PAGE = _PAGE.format(rows=_LOG)
_UNCONSUMED_PAGE = _PAGE.format(rows=f"SELECT {_COLUMNS} {_UNCONSUMED_FROM}")
_STRETCH = """SELECT position, topic, message_id, message, producer, timestamp, sequence, found
    FROM (
        SELECT *, row_number() OVER by_position AS row, count(*) OVER () AS found,
            sum(octet_length(message) + 200) OVER by_position AS bytes
        FROM (SELECT m.position, t.topic, m.message_id, m.message, m.producer, m.timestamp,
                m.sequence FROM messages AS m JOIN topics AS t ON t.topic_id = m.topic_id
            WHERE m.position > %(after)s ORDER BY m.position LIMIT %(limit)s + 1) AS r
        WINDOW by_position AS (ORDER BY position)
    ) AS p WHERE row <= %(limit)s AND (row = 1 OR bytes <= %(max_bytes)s) ORDER BY position"""
_LAST_POSITION = "SELECT position FROM log"
_COUNT_UNCONSUMED = f"SELECT count(*) FROM (SELECT 1 {_UNCONSUMED_FROM} LIMIT %(limit)s) AS u"


def log_page(connection: Connection, topic: str, after: int, limit: int, max_bytes: int) -> Page:
    """A topic's messages after a sequence."""
    values = {"topic": topic, "after": after, "limit": limit, "max_bytes": max_bytes}
    return _page(connection, _LOG_PAGE, values)


def stretch(connection: Connection, after: int, limit: int, max_bytes: int) -> Stretch:
    """Every topic's messages after a position."""
    values = {"after": after, "limit": limit, "max_bytes": max_bytes}
    rows = connection.execute(_STRETCH, values).fetchall()
    messages = [(row[0], message_of(row[1:7])) for row in rows]
    if rows and len(rows) < rows[0][7]:
        return Stretch(messages, messages[-1][0], is_last=False)
    ((last,),) = connection.execute(_LAST_POSITION).fetchall()
    return Stretch(messages, last, is_last=True)


def unconsumed_page(
    connection: Connection,
    consumer: str,
    topic: str,
    after: int,
    last: int,
    limit: int,
    max_bytes: int,
) -> Page:
    """What a consumer is owed of a topic, after a sequence and up to another."""
    due = owed(connection, consumer, topic)
    if due is None:
        return Page([], is_last=True)
    bounds = {"after": max(after, due.after), "last": min(last, due.last)}
    values = msgspec.structs.asdict(due) | bounds | {"limit": limit, "max_bytes": max_bytes}
    return _page(connection, _UNCONSUMED_PAGE, values)


def count_unconsumed(connection: Connection, consumer: str, topic: str, limit: int) -> int:
    """How many messages a consumer is owed of a topic; counts to `limit`."""
    due = owed(connection, consumer, topic)
    if due is None:
        return 0
    values = msgspec.structs.asdict(due) | {"limit": limit}
    ((count,),) = connection.execute(_COUNT_UNCONSUMED, values).fetchall()
    return int(count)


def _page(connection: Connection, sql: str, values: Mapping[str, object]) -> Page:
    rows = connection.execute(sql, values).fetchall()
    return Page([message_of(row[:6]) for row in rows], is_last=not rows or len(rows) == rows[0][6])
