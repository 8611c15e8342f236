"""Which database and which bus the servers of the tests use.

`TEST_DATABASE=postgresql` and `TEST_BUS=redis` (by default SQLite and none) start one PostgreSQL
and one Redis for all tests; each directory then is a log of its own on them, as it is with SQLite.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from postgresql import PostgreSQL
from redis_server import RedisServer

POSTGRESQL = "TEST_POSTGRESQL_URL"
REDIS = "TEST_REDIS_URL"


@contextmanager
def chosen_engines(directory: Path) -> Iterator[None]:
    """While it lasts, servers find what the environment of this process asks for."""
    database = os.environ.get("TEST_DATABASE", "sqlite")
    bus = os.environ.get("TEST_BUS", "local")
    assert database in ("sqlite", "postgresql"), f"TEST_DATABASE: {database}"
    assert bus in ("local", "redis"), f"TEST_BUS: {bus}"
    with ExitStack() as stack:
        found = {}
        if database == "postgresql":
            server = PostgreSQL()
            stack.callback(server.stop)
            found[POSTGRESQL] = server.start().url()
        if bus == "redis":
            found[REDIS] = stack.enter_context(RedisServer(directory)).url
        stack.enter_context(mock.patch.dict(os.environ, found))
        yield


def sqlite_url(directory: Path) -> str:
    """The database file of a directory, for what only SQLite has."""
    return f"sqlite:///{directory}/pubsub.db"


def database_url(directory: Path) -> str:
    """The database of a directory, made if need be."""
    server = os.environ.get(POSTGRESQL)
    return sqlite_url(directory) if server is None else _schema_url(server, directory)


def bus_settings() -> dict[str, str]:
    url = os.environ.get(REDIS)
    return {} if url is None else {"redis_url": url}


def lose_log(directory: Path) -> None:
    """Take everything away that a directory's database had."""
    for file in directory.glob("pubsub.db*"):
        file.unlink()
    server = os.environ.get(POSTGRESQL)
    if server is not None:
        _execute(server, f"DROP SCHEMA {_schema(directory)} CASCADE")
        _schema_url(server, directory)


def rows(directory: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a directory's database answers, past the server."""
    server = os.environ.get(POSTGRESQL)
    if server is not None:
        return _execute(_schema_url(server, directory), statement)
    with closing(sqlite3.connect(directory / "pubsub.db")) as connection:
        return connection.execute(statement).fetchall()


def is_whole(directory: Path) -> bool:
    """Whether a directory's file is an unharmed database; PostgreSQL sees to that itself."""
    return POSTGRESQL in os.environ or rows(directory, "PRAGMA integrity_check") == [("ok",)]


def _schema(directory: Path) -> str:
    return f"d_{hashlib.sha256(str(directory).encode()).hexdigest()[:20]}"


def _schema_url(server: str, directory: Path) -> str:
    # Servers that start at once ask for it at once, and IF NOT EXISTS alone lets one of them fail.
    one_by_one = "SELECT pg_advisory_xact_lock(1)"
    _execute(server, f"{one_by_one}; CREATE SCHEMA IF NOT EXISTS {_schema(directory)}")
    return f"{server}&options=-csearch_path%3D{_schema(directory)}"


def _execute(server: str, statement: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
