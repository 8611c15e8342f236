"""Statements for many rows at once.

A native thread gives the GIL away and takes it back at each step of a statement. So that a commit
does not starve the event loop, it runs few statements, and asks for its answers as one JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec

from .sql import Connection

USUAL = 128
LARGEST = 512  # rows a statement; the widest row has 8 values and SQLite allows 32,766


def write_rows(
    connection: Connection, head: str, rows: Sequence[tuple[Any, ...]], tail: str = ""
) -> int:
    """Run `head VALUES (…), (…) tail` for all rows; SQLite's id of the last one, else 0."""
    last = 0
    for part in _parts(rows):
        statement = _statement(f"{head} ", tail, len(part[0]), len(part))
        cursor = connection.execute(statement, list(chain.from_iterable(part)))
        last = getattr(cursor, "lastrowid", None) or 0
    return last


def read_rows(
    connection: Connection, columns: str, rows: Sequence[tuple[Any, ...]], join: str
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
    connection: Connection, columns: str, rows: Sequence[tuple[Any, ...]], join: str
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
    """Cut rows into few parts whose sizes recur, so that their statements stay prepared.

    A usual number of rows is one part; many are cut into powers of two and what is left.
    """
    start, left = 0, len(rows)
    while left:
        size = left if left <= USUAL else min(LARGEST, 1 << (left.bit_length() - 1))
        yield rows if size == len(rows) else rows[start : start + size]
        start, left = start + size, left - size


@cache
def _statement(head: str, tail: str, width: int, count: int) -> str:
    row = f"({','.join('?' * width)})"
    return f"{head}VALUES {','.join([row] * count)} {tail}"
