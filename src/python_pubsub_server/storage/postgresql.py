"""PostgreSQL: one log for the nodes of many machines.

Every commit locks the one row of the table `log`. So commits come one after the other, whichever
node they are from: positions and sequences have no gaps, and are seen in their order. What that
costs is shared by all who wait meanwhile, because each node commits in groups.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..errors import ConfigurationError, DatabaseError
from ..model import NodeMinute
from .database import Batch, Committed, Retention, WriteFailed
from .migrations import migrations_folder, read_migrations
from .postgresql_archive import PostgreSQLSource, PostgreSQLTarget
from .postgresql_commit import store
from .postgresql_dialect import Dialect
from .postgresql_migrations import migrate
from .postgresql_reader import PostgreSQLReader
from .postgresql_rows import Connection, is_usable
from .postgresql_search import forget_words, index
from .sql_minutes import keep_minute
from .sql_registry import SQLRegistry
from .sql_retention import trim

_T = TypeVar("_T")

# With `off` a commit is answered before it is on the disk of the database server: it survives a
# crash of ours, not one of that machine.
_SYNCHRONOUS = {"full": "on", "normal": "off"}
# A restarted server, or one that was taken over from, must not leave us waiting on a dead socket.
_PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
# Of several servers, one is the primary. A standby may be behind, so nothing is read there either.
_OF_SEVERAL = {"target_session_attrs": "read-write"}
_WRITE_TIMEOUT = "30s"
_READ_TIMEOUT = "25s"
_LOCK_TIMEOUT = "10s"

_SET = """SELECT set_config(name, value, false)
    FROM unnest(%s::text[], %s::text[]) AS s (name, value)"""
_EPOCH = "SELECT epoch FROM log"
_START_LOG = """INSERT INTO log (id, epoch, created_at) VALUES (1, %s, %s)
    ON CONFLICT DO NOTHING"""


# One node trims at a time; the others find the work done.
_CLAIM_UPKEEP = "SELECT position FROM search_progress FOR UPDATE SKIP LOCKED"


class PostgreSQLDatabase:
    """An open, migrated log in a PostgreSQL database."""

    def __init__(
        self, conninfo: str, epoch: str, durability: str, deduplication_seconds: float
    ) -> None:
        self.epoch = epoch
        self._conninfo = conninfo
        self._durability = durability
        self._deduplication_seconds = deduplication_seconds

    @classmethod
    def open(
        cls,
        url: str,
        *,
        durability: str = "full",
        deduplication_seconds: float = 120.0,
        migrations: Path | None = None,
    ) -> PostgreSQLDatabase:
        """Connect to a database that exists, and bring its tables to this version.

        Raises ConfigurationError for a URL that cannot be read, DatabaseError for a server that
        does not answer or refuses, and for tables that are not this server's or newer than it.
        """
        conninfo = conninfo_of(url)
        known = read_migrations(migrations or migrations_folder() / "postgresql")
        try:
            with connect(conninfo) as connection:
                migrate(connection, known)
                connection.execute(_START_LOG, (str(uuid.uuid4()), time.time()))
                ((epoch,),) = connection.execute(_EPOCH).fetchall()
        except psycopg.Error as error:
            raise DatabaseError(
                f"PostgreSQL: {line_of(error)}; see that it runs, that PUBSUB_DATABASE_URL names "
                "it, and that its user may create tables"
            ) from error
        return cls(conninfo, epoch, durability, deduplication_seconds)

    def writer(self) -> PostgreSQLWriter:
        """A writer. Its connection is opened at the first commit."""
        return PostgreSQLWriter(self._open_to_write, self._deduplication_seconds)

    def reader(self) -> PostgreSQLReader:
        """A reader with a connection of its own, which it opens (again) when it needs it."""
        return PostgreSQLReader(self._open_to_read)

    def registry(self) -> SQLRegistry:
        """Users and revoked tokens, through a connection of its own."""
        return SQLRegistry(lambda: Dialect(self._open_to_write()), psycopg.Error)

    @contextlib.contextmanager
    def source(self) -> Iterator[PostgreSQLSource]:
        with self._whole("REPEATABLE READ, READ ONLY") as connection:
            yield PostgreSQLSource(connection)

    @contextlib.contextmanager
    def target(self) -> Iterator[PostgreSQLTarget]:
        with self._whole("READ COMMITTED") as connection:
            yield PostgreSQLTarget(connection)

    def back_up(self, path: Path) -> None:
        raise DatabaseError(
            f"{path}: PostgreSQL makes its own backups: use pg_dump, or pubsub-server export"
        )

    @contextlib.contextmanager
    def _whole(self, isolation: str) -> Iterator[Connection]:
        """A connection in one transaction, however long it takes. Raises DatabaseError."""
        try:
            with contextlib.closing(self._open_to_write()) as connection:
                _set(connection, statement_timeout="0")
                with connection.transaction():
                    connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
                    yield connection
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {line_of(error)}") from error

    def _open_to_write(self) -> Connection:
        connection = connect(self._conninfo)
        _set(
            connection,
            synchronous_commit=_SYNCHRONOUS[self._durability],
            statement_timeout=_WRITE_TIMEOUT,
            lock_timeout=_LOCK_TIMEOUT,
        )
        return connection

    def _open_to_read(self) -> Connection:
        connection = connect(self._conninfo)
        _set(connection, default_transaction_read_only="on", statement_timeout=_READ_TIMEOUT)
        return connection


class PostgreSQLWriter:
    """Commits batches through one connection, which it opens again when it broke."""

    def __init__(self, connect: Callable[[], Connection], deduplication_seconds: float) -> None:
        self._connect = connect
        self._window = deduplication_seconds
        self._connection: Connection | None = None
        self._warning: str | None = None

    def commit(self, batch: Batch) -> Committed:
        """Store a batch.

        PostgreSQL only warns when somebody ends the wait for a synchronous standby: such a commit
        would be lost with the primary, so it is not answered, either.
        """

        def work(connection: Connection) -> Committed:
            # In a pipeline the statements of a commit leave together and are answered together.
            with connection.pipeline(), connection.transaction():
                return store(connection, batch, self._window)

        self._warning = None
        committed = self._connected(work)
        if self._warning is not None:
            raise WriteFailed(self._warning)
        return committed

    def index(self, limit: int) -> int:
        def work(connection: Connection) -> int:
            with connection.transaction():
                return index(connection, limit)

        return self._connected(work)

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        def work(connection: Connection) -> int:
            with connection.transaction():
                if connection.execute(_CLAIM_UPKEEP).fetchone() is None:
                    return 0
                forget = partial(forget_words, connection)
                return trim(Dialect(connection), retention, now, limit, self._window, forget)

        return self._connected(work)

    def keep_minute(self, minute: NodeMinute, since: int) -> None:
        def work(connection: Connection) -> None:
            with connection.transaction():
                keep_minute(Dialect(connection), minute, since)

        self._connected(work)

    def checkpoint(self) -> None:
        """Nothing: the server does its own beside the commits."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, work: Callable[[Connection], _T]) -> _T:
        """Do a transaction.

        A connection that breaks while it commits leaves open which of the two it was: then the
        publishers are refused, and a retry is recognised if it was stored.
        """
        try:
            if self._connection is None or not is_usable(self._connection):
                self.close()
                self._connection = self._connect()
                self._connection.add_notice_handler(self._hear)
            return work(self._connection)
        except psycopg.Error as error:
            if not isinstance(
                error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable
            ):
                self.close()
            raise WriteFailed(line_of(error)) from error

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary


def conninfo_of(url: str) -> str:
    """What libpq is to be told, for a URL. Raises ConfigurationError."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            f"PUBSUB_DATABASE_URL: {line_of(error)}; write postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    several = _OF_SEVERAL if "," in str(given.get("host") or given.get("hostaddr")) else {}
    defaults = {"application_name": "pubsub-server", **_PATIENCE, **several}
    return make_conninfo(**{**defaults, **given})  # type: ignore[arg-type]


def connect(conninfo: str) -> Connection:
    connection = psycopg.connect(conninfo, autocommit=True)
    # Each statement has its index, and finds it before the statistics of a young table are made.
    _set(connection, jit="off", enable_seqscan="off", timezone="UTC")
    return connection


def _set(connection: Connection, **settings: str) -> None:
    names, values = list(settings), list(settings.values())
    connection.execute(_SET, (names, values))


def line_of(error: psycopg.Error) -> str:
    """What PostgreSQL says, in one line; libpq does not repeat passwords in it."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
