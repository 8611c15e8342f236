"""A whole PostgreSQL log, read as one moment of it or filled in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .archive import TABLES, Head, select
from .postgresql_dialect import Dialect
from .postgresql_rows import Connection
from .sql_archive import is_unused, last_migration, read_head

FETCHED = 500  # rows at a time

_HEAD = "SELECT epoch, created_at, position, consumption, timestamp FROM log"
_LOCK_LOG = "SELECT position FROM log FOR UPDATE"
_SET_LOG = """UPDATE log SET epoch = %s, created_at = %s, position = %s, consumption = %s,
    timestamp = %s"""


class PostgreSQLSource:
    """Inside a transaction that sees one state."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        return read_head(Dialect(self._connection), _HEAD)

    def rows(self, table: str) -> Iterator[Sequence[Any]]:
        with self._connection.cursor(name=f"archive_{table}") as cursor:
            cursor.itersize = FETCHED
            cursor.execute(select(table).encode())
            yield from cursor


class PostgreSQLTarget:
    """Inside a transaction that holds the log."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.execute(_LOCK_LOG)

    def is_empty(self) -> bool:
        return is_unused(Dialect(self._connection))

    def migration(self) -> str:
        return last_migration(Dialect(self._connection))

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        columns, _ = TABLES[table]
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self._connection.cursor().copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def end(self, head: Head) -> None:
        self._connection.execute(
            _SET_LOG,
            (head.epoch, head.created_at, head.position, head.consumption, head.timestamp),
        )
