"""Statements for many rows at once.

A native thread gives the GIL away and takes it back at each step of a statement. So that a commit
does not starve the event loop, it runs few statements, and asks for its answers as one JSON text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec

LARGEST = 512  # rows a statement; the widest row has 8 values and SQLite allows 32,766


def write_rows(
    connection: sqlite3.Connection, head: str, rows: Sequence[tuple[Any, ...]], tail: str = ""
) -> None:
    """Run `head VALUES (…), (…) tail` for all rows."""
    for part in _parts(rows):
        statement = _statement(f"{head} ", tail, len(part[0]), len(part))
        connection.execute(statement, list(chain.from_iterable(part)))


def read_rows(
    connection: sqlite3.Connection, columns: str, rows: Sequence[tuple[Any, ...]], join: str
) -> list[Any]:
    """What `SELECT columns` finds for rows that `join` calls w.column1, w.column2 and so on.

    The columns must be numbers: the answer comes as JSON, which cannot carry every text.
    """
    found: list[Any] = []
    head = f"SELECT json_group_array(json_array({columns})) FROM ("
    for part in _parts(rows):
        statement = _statement(head, f") AS w {join}", len(part[0]), len(part))
        answer = connection.execute(statement, list(chain.from_iterable(part))).fetchone()
        found += msgspec.json.decode(answer[0])
    return found


def read_text_rows(
    connection: sqlite3.Connection, columns: str, rows: Sequence[tuple[Any, ...]], join: str
) -> list[tuple[Any, ...]]:
    """As `read_rows` for columns of any kind, a step of the statement each: for few rows."""
    found: list[tuple[Any, ...]] = []
    for part in _parts(rows):
        statement = _statement(
            f"SELECT {columns} FROM (", f") AS w {join}", len(part[0]), len(part)
        )
        found += connection.execute(statement, list(chain.from_iterable(part))).fetchall()
    return found


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Cut rows into powers of two, so that the connection's cache of statements stays small."""
    start, left = 0, len(rows)
    while left:
        size = min(LARGEST, 1 << (left.bit_length() - 1))
        yield rows if size == len(rows) else rows[start : start + size]
        start, left = start + size, left - size


@cache
def _statement(head: str, tail: str, width: int, count: int) -> str:
    row = f"({','.join('?' * width)})"
    return f"{head}VALUES {','.join([row] * count)} {tail}"
