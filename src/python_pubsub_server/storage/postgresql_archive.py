"""A whole PostgreSQL log, read as one moment of it or filled in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__
from .archive import FORMAT, SIGNS_OF_USE, TABLES, Head, select
from .postgresql_rows import Connection

FETCHED = 500  # rows at a time

_HEAD = "SELECT epoch, created_at, position, consumption, timestamp FROM log"
_LOCK_LOG = "SELECT position FROM log FOR UPDATE"
_MIGRATION = "SELECT name FROM migrations ORDER BY number DESC LIMIT 1"
_SET_LOG = """UPDATE log SET epoch = %s, created_at = %s, position = %s, consumption = %s,
    timestamp = %s"""


class PostgreSQLSource:
    """Inside a transaction that sees one state."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        ((epoch, created_at, position, consumption, timestamp),) = self._connection.execute(
            _HEAD
        ).fetchall()
        return Head(
            archive=FORMAT,
            server=__version__,
            migration=migration(self._connection),
            epoch=epoch,
            created_at=created_at,
            position=position,
            consumption=consumption,
            timestamp=timestamp,
        )

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
        return not any(
            self._connection.execute(f"SELECT 1 FROM {table} LIMIT 1".encode()).fetchone()
            for table in SIGNS_OF_USE
        )

    def migration(self) -> str:
        return migration(self._connection)

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


def migration(connection: Connection) -> str:
    ((name,),) = connection.execute(_MIGRATION).fetchall()
    return str(name)
