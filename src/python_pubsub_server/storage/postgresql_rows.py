"""Rows to and from a PostgreSQL log."""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as one array a column: a statement over `unnest` takes any number of them."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width


def write_rows(
    connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]], width: int
) -> None:
    """Run a statement whose parameters are the columns of all rows; not at all for none."""
    listed = list(rows)
    if listed:
        connection.execute(statement, columns(listed, width))


def is_usable(connection: Connection) -> bool:
    """Whether a connection can be tried: between two uses a server says nothing but goodbye."""
    if connection.closed:
        return False
    said = select.poll()  # not `select.select`, which takes no number above 1,023
    said.register(connection.fileno(), select.POLLIN)
    return not said.poll(0)
