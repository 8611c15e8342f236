"""Brings a PostgreSQL database to the tables of this code, or refuses and touches nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg

from ..errors import DatabaseError
from .migrations import Migration, Record, lacking
from .postgresql_rows import Connection

_LOCK = 7_237_462_101  # any number; servers that start at the same time wait for one another on it
_OURS = """SELECT table_name FROM information_schema.tables
    WHERE table_schema = current_schema()"""
_CREATE_RECORDS = """CREATE TABLE IF NOT EXISTS migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at double precision NOT NULL
)"""
_RECORDS = "SELECT number, name, checksum FROM migrations ORDER BY number"
_ADD_RECORD = "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (%s, %s, %s, %s)"


def migrate(connection: Connection, known: Sequence[Migration]) -> list[str]:
    """Apply what is missing, all in one transaction with its records; their names.

    Raises DatabaseError for a schema that has other tables, or ones of a newer server.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        missing = lacking(read_records(connection), known)
        for migration in missing:
            _apply(connection, migration)
    return [migration.name for migration in missing]


def _apply(connection: Connection, migration: Migration) -> None:
    connection.execute(_CREATE_RECORDS)
    try:
        connection.execute(migration.sql.encode())
    except psycopg.Error as error:
        raise DatabaseError(
            f"PostgreSQL: migration {migration.name} failed and was undone: "
            f"{' '.join(str(error).split())}; start the version of the server that last worked"
        ) from error
    connection.execute(
        _ADD_RECORD, (migration.number, migration.name, migration.checksum, time.time())
    )


def read_records(connection: Connection) -> list[Record]:
    tables = {name for (name,) in connection.execute(_OURS)}
    if not tables:
        return []
    if not {"migrations", "log"} <= tables:
        raise DatabaseError(
            "PostgreSQL: the database has tables of another program; name an empty one, or a "
            "schema of its own: postgresql://…/NAME?options=-csearch_path%3Dpubsub"
        )
    return [Record(*row) for row in connection.execute(_RECORDS)]
