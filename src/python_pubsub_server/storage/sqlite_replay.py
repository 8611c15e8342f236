"""What a subscriber missed, read a page at a time from an SQLite log.

A page comes as one JSON text: a native thread gives the GIL away at each step of a statement, and
a page of 500 steps would wait 500 times for a busy event loop.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from ..model import Message
from .sql import Cursor
from .sql_replay import Pages

_decode = msgspec.json.Decoder(list[tuple[str, str, str, float, int]]).decode
_decode_stretch = msgspec.json.Decoder(list[tuple[int, str, str, str, str, float, int]]).decode

# `row` and `bytes` run over the rows in order; a row more than wanted tells that there is more.
_PAGE = """SELECT count(*), json_group_array(
        json_array(message_id, message, producer, json(printf('%!.17g', timestamp)), sequence)
    ) FILTER (WHERE row <= :limit AND (row = 1 OR bytes <= :max_bytes))
    FROM (
        SELECT *, row_number() OVER by_sequence AS row,
            sum(length(CAST(message AS BLOB)) + 200) OVER by_sequence AS bytes
        FROM ({rows} ORDER BY m.sequence LIMIT :limit + 1)
        WINDOW by_sequence AS (ORDER BY sequence)
    )"""
_COLUMNS = "m.message_id, m.message, m.producer, m.timestamp, m.sequence"
_LOG = f"""SELECT {_COLUMNS} FROM topics AS t
    CROSS JOIN messages AS m INDEXED BY messages_by_sequence ON m.topic_id = t.topic_id
    WHERE t.topic = :topic AND m.sequence > :after"""
_UNCONSUMED_FROM = """FROM messages AS m INDEXED BY messages_by_sequence
    WHERE m.topic_id = :topic_id AND m.sequence > :after AND m.sequence <= :last
    AND NOT EXISTS (SELECT 1 FROM consumptions AS c WHERE c.topic_id = m.topic_id
        AND c.sequence = m.sequence AND c.consumer_id = :consumer_id)"""
_COUNT_UNCONSUMED = f"SELECT count(*) FROM (SELECT 1 {_UNCONSUMED_FROM} LIMIT :limit)"
_STRETCH = """SELECT count(*), json_group_array(json_array(
        position, topic, message_id, message, producer, json(printf('%!.17g', timestamp)), sequence
    )) FILTER (WHERE row <= :limit AND (row = 1 OR bytes <= :max_bytes))
    FROM (
        SELECT *, row_number() OVER by_position AS row,
            sum(length(CAST(message AS BLOB)) + 200) OVER by_position AS bytes
        FROM (SELECT m.position, t.topic, m.message_id, m.message, m.producer, m.timestamp,
                m.sequence FROM messages AS m CROSS JOIN topics AS t ON t.topic_id = m.topic_id
            WHERE m.position > :after ORDER BY m.position LIMIT :limit + 1)
        WINDOW by_position AS (ORDER BY position)
    )"""
_LAST_POSITION = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"


def _page(cursor: Cursor, topic: str) -> tuple[list[Message], int]:
    found, rows = cursor.fetchone()
    messages = [
        Message(topic, message_id, Raw(text), producer, timestamp, sequence)
        for message_id, text, producer, timestamp, sequence in _decode(rows)
    ]
    return messages, found


def _positioned(cursor: Cursor) -> tuple[list[tuple[int, Message]], int]:
    found, rows = cursor.fetchone()
    messages = [
        (position, Message(topic, message_id, Raw(text), producer, timestamp, sequence))
        for position, topic, message_id, text, producer, timestamp, sequence in _decode_stretch(
            rows
        )
    ]
    return messages, found


PAGES = Pages(
    log=_PAGE.format(rows=_LOG),
    unconsumed=_PAGE.format(rows=f"SELECT {_COLUMNS} {_UNCONSUMED_FROM}"),
    stretch=_STRETCH,
    count_unconsumed=_COUNT_UNCONSUMED,
    last_position=_LAST_POSITION,
    page=_page,
    positioned=_positioned,
)
