"""Brings an SQLite database to the tables of this code, or refuses and touches nothing."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ..errors import DatabaseError

_FILE_NAME = re.compile(r"(\d{3})_\w+\.sql")
_CREATE_RECORDS = """CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at REAL NOT NULL
)"""
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_RECORDS = "SELECT number, name, checksum FROM migrations ORDER BY number"
_ADD_RECORD = "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)"


class Migration(msgspec.Struct, frozen=True):
    """One numbered file of SQL; its checksum is the same whatever a checkout does to line ends."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Record(msgspec.Struct, frozen=True):
    """What a database says of a migration that it has."""

    number: int
    name: str
    checksum: str


def migrations_folder() -> Path:
    """Where the SQL files are: inside the installed package, or at the top of a source checkout."""
    packaged = Path(__file__).parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations in order; DatabaseError unless they are numbered 1, 2, 3 and so on."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        name = _FILE_NAME.fullmatch(path.name)
        if name is None:
            raise DatabaseError(f"{path}: name a migration like 003_what_it_does.sql")
        sql = path.read_text(encoding="utf-8")  # universal newlines: \r\n is read as \n
        found.append(Migration(int(name[1]), path.stem, sql))
    if [one.number for one in found] != list(range(1, len(found) + 1)) or not found:
        raise DatabaseError(
            f"{folder}: the migrations must be numbered from 001 without holes, found "
            f"{', '.join(one.name for one in found) or 'none'}; install the server again"
        )
    return found


def pending(connection: sqlite3.Connection, known: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations that a database lacks; DatabaseError if it may not be migrated."""
    return lacking(_read_records(connection), known)


def lacking(records: Sequence[Record], known: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations that a database with these records lacks; DatabaseError as above."""
    if len(records) > len(known):
        raise DatabaseError(
            f"it is newer than this server (it has migration {records[-1].name}, the server knows "
            f"up to {known[-1].name}); start the newer version of the server"
        )
    for place, (record, migration) in enumerate(zip(records, known, strict=False), start=1):
        if record.number != place:
            raise DatabaseError(
                f"its record of migration {place} is missing; restore the database from a backup"
            )
        if record.checksum != migration.checksum or record.name != migration.name:
            raise DatabaseError(
                f"migration {migration.name} was changed after it was applied as {record.name}; "
                "put the original file back and add a new migration instead"
            )
    return known[len(records) :]


def migrate(connection: sqlite3.Connection, known: Sequence[Migration]) -> list[str]:
    """Apply what is missing, each migration in one transaction with its record; their names.

    The connection must be in autocommit mode (`isolation_level=None`). Servers that start at the
    same time wait for one another here, and each migration is applied once.
    """
    applied = []
    while pending(connection, known):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again: another server may have applied it while this one waited for the lock.
            for migration in pending(connection, known)[:1]:
                _apply(connection, migration)
                applied.append(migration.name)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return applied


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute(_CREATE_RECORDS)
    for statement in statements(migration.sql):
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            raise DatabaseError(
                f"migration {migration.name} failed and was undone: {error}; "
                "start the version of the server that last worked"
            ) from error
        if not connection.in_transaction:
            raise DatabaseError(f"migration {migration.name} ends its own transaction; remove that")
    connection.execute(
        _ADD_RECORD, (migration.number, migration.name, migration.checksum, time.time())
    )


def statements(sql: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit before the first."""
    statement = ""
    for piece in sql.split(";"):
        statement += piece
        if sqlite3.complete_statement(statement + ";"):
            yield statement.strip()
            statement = ""
        else:
            statement += ";"
    if statement.strip("; \n\t"):
        yield statement.removesuffix(";").strip()


def _read_records(connection: sqlite3.Connection) -> list[Record]:
    tables = {name for (name,) in connection.execute(_TABLES)}
    if not tables:
        return []
    foreign = DatabaseError("it is another program's SQLite database; name another file")
    if "migrations" not in tables:
        raise foreign
    try:
        return [Record(*row) for row in connection.execute(_RECORDS)]
    except sqlite3.OperationalError as error:
        if "no such column" in str(error):
            raise foreign from error
        raise
