"""A whole SQLite log, read as one moment of it or filled in one transaction; and its backup."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import DatabaseError
from .archive import TABLES, Head, select
from .sql_archive import is_unused, last_migration, read_head
from .sqlite_commit import list_by_consumer

_HEAD = """SELECT epoch, created_at,
    (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'),
    (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'consumptions'),
    (SELECT coalesce(max(last_published_at), 0.0) FROM topics)
    FROM log"""
_SET_LOG = "UPDATE log SET epoch = ?, created_at = ?"
_FORGET_LAST = "DELETE FROM sqlite_sequence WHERE name = ?"
_SET_LAST = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)"


class SQLiteSource:
    """Inside a transaction that reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        return read_head(self._connection, _HEAD)

    def rows(self, table: str) -> Iterator[Sequence[Any]]:
        return self._connection.execute(select(table))


class SQLiteTarget:
    """Inside a transaction that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def is_empty(self) -> bool:
        return is_unused(self._connection)

    def migration(self) -> str:
        return last_migration(self._connection)

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        columns, _ = TABLES[table]
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
        )

    def end(self, head: Head) -> None:
        self._connection.execute(_SET_LOG, (head.epoch, head.created_at))
        # Also where retention has deleted the last ones: positions are never given twice.
        for table, last in (("messages", head.position), ("consumptions", head.consumption)):
            self._connection.execute(_FORGET_LAST, (table,))
            self._connection.execute(_SET_LAST, (table, last))
        list_by_consumer(self._connection, head.consumption, 1)


def back_up(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the database of a connection, as it is at this moment, to a new file.

    Raises DatabaseError; then there is no file of that name.
    """
    if path.exists():
        raise DatabaseError(f"{path}: there is such a file already; name another")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        copy = sqlite3.connect(part)
        try:
            # In one step: a copy in steps begins anew whenever another process writes. Who
            # writes does not wait for it.
            connection.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whatever is done with it
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            copy.close()
        if found != "ok":
            raise DatabaseError(f"{path}: the copy is damaged ({found}); so is the database")
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.rename(path)
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(f"{path}: {error}; see that the disk has room") from error
    finally:
        part.unlink(missing_ok=True)
