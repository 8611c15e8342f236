"""The full-text index of a PostgreSQL log."""

from __future__ import annotations

from ..model import Message
from .postgresql_rows import Connection, write_rows
from .search import indexed_words
from .sql_rows import message_of

MAX_INDEXED_BYTES = 900_000  # of one message: a tsvector takes a megabyte

# Locked: of several nodes that index at once, the later ones go on where the first one ended.
_PROGRESS = "SELECT position FROM search_progress FOR UPDATE"
_UNINDEXED = """SELECT m.position, t.topic, m.message_id, m.message, m.producer, m.timestamp,
    m.sequence FROM messages AS m JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE m.position > %s ORDER BY m.position LIMIT %s"""
_ADD_WORDS = """INSERT INTO search (position, words)
    SELECT position, array_to_tsvector(string_to_array(words, ' '))
    FROM unnest(%s::bigint[], %s::text[]) AS w (position, words)"""
_FORGET_WORDS = """DELETE FROM search WHERE position IN
    (SELECT position FROM messages WHERE topic_id = %s AND sequence <= %s)"""
_SET_PROGRESS = "UPDATE search_progress SET position = %s"


def index(connection: Connection, limit: int) -> int:
    """Index the next messages; how many there were."""
    ((progress,),) = connection.execute(_PROGRESS).fetchall()
    rows = connection.execute(_UNINDEXED, (progress, limit)).fetchall()
    if rows:
        write_rows(
            connection, _ADD_WORDS, ((row[0], _different(message_of(row[1:]))) for row in rows), 2
        )
        connection.execute(_SET_PROGRESS, (rows[-1][0],))
    return len(rows)


def forget_words(connection: Connection, topic_id: int, last: int) -> None:
    """Delete what the index has of a topic's messages up to a sequence."""
    connection.execute(_FORGET_WORDS, (topic_id, last))


def tsquery(wanted: list[str], keys: list[str]) -> str:
    """A query in PostgreSQL's syntax: words by their beginning, keys whole.

    Words hold letters and digits only, so that nothing can escape from the quotes.
    """
    return " & ".join([*(f"'{word}':*" for word in wanted), *(f"'{key}'" for key in keys)])


def _different(message: Message) -> str:
    """The different words of a message, its names first, as many as an index entry may have."""
    found = list(dict.fromkeys(reversed(indexed_words(message).split(" "))))
    size = 0
    for number, word in enumerate(found):
        size += len(word.encode()) + 8
        if size > MAX_INDEXED_BYTES:
            return " ".join(found[:number])
    return " ".join(found)
