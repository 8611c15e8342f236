"""What a subscriber missed, read a page at a time from a PostgreSQL log."""

from __future__ import annotations

from ..model import Message
from .sql import Cursor
from .sql_replay import Pages
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


def _page(cursor: Cursor, _topic: str) -> tuple[list[Message], int]:
    rows = cursor.fetchall()
    return [message_of(row[:6]) for row in rows], rows[0][6] if rows else 0


def _positioned(cursor: Cursor) -> tuple[list[tuple[int, Message]], int]:
    rows = cursor.fetchall()
    return [(row[0], message_of(row[1:7])) for row in rows], rows[0][7] if rows else 0


PAGES = Pages(
    log=_PAGE.format(rows=_LOG),
    unconsumed=_PAGE.format(rows=f"SELECT {_COLUMNS} {_UNCONSUMED_FROM}"),
    stretch=_STRETCH,
    count_unconsumed=_COUNT_UNCONSUMED,
    last_position=_LAST_POSITION,
    page=_page,
    positioned=_positioned,
)
