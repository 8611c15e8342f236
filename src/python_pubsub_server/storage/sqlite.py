"""SQLite: one file, one writer at a time, any number of readers beside it (WAL)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import DatabaseError
from ..model import NodeMinute
from .database import Batch, Committed, ReadFailed, Retention, WriteFailed
from .migrations import migrate, migrations_folder, pending, read_migrations
from .multirow import write_rows
from .search import indexed_words
from .sql_minutes import keep_minute
from .sql_registry import SQLRegistry
from .sql_retention import trim
from .sql_rows import message_of
from .sqlite_archive import SQLiteSource, SQLiteTarget, back_up
from .sqlite_commit import store
from .sqlite_reader import SQLiteReader

_T = TypeVar("_T")

_SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
_NORMAL = 1
# A connection that met one of these may hold a broken view of its files: it is opened again.
_CONNECTION_IS_DOUBTFUL = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}

MAX_CHECKED_BYTES = 2**28
# Then a commit copies the log into the database, if nobody has asked for it between two commits:
# 32 MB; see docs/decisions/010-checkpoints-stay-in-the-writer.md
CHECKPOINT_PAGES = 8_000

_SYNCHRONOUS_NOW = "PRAGMA synchronous"
_EPOCH = "SELECT epoch FROM log"
_START_LOG = "INSERT OR IGNORE INTO log (id, epoch, created_at) VALUES (1, ?, ?)"
_PROGRESS = "SELECT position FROM search_progress"
_UNINDEXED = """SELECT m.position, t.topic, m.message_id, m.message, m.producer, m.timestamp,
    m.sequence FROM messages AS m CROSS JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE m.position > ? ORDER BY m.position LIMIT ?"""
_INDEXED = """SELECT m.position, t.topic, m.message_id, m.message, m.producer, m.timestamp,
    m.sequence FROM messages AS m CROSS JOIN topics AS t ON t.topic_id = m.topic_id
    WHERE m.topic_id = ? AND m.sequence <= ? AND m.position <= ?"""
_FORGET_WORDS = "INSERT INTO search (search, rowid, words)"
_ADD_WORDS = "INSERT INTO search (rowid, words)"
_SET_PROGRESS = "UPDATE search_progress SET position = ?"


class SQLiteDatabase:
    """An open, migrated log in a file. `epoch` stays the same as long as the file does."""

    def __init__(
        self,
        path: Path,
        epoch: str,
        durability: str,
        deduplication_seconds: float,
        busy_timeout_seconds: float,
    ) -> None:
        self.epoch = epoch
        self._path = path
        self._durability = durability
        self._deduplication_seconds = deduplication_seconds
        self._busy_timeout_seconds = busy_timeout_seconds

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durability: str = "full",
        deduplication_seconds: float = 120.0,
        busy_timeout_seconds: float = 5.0,
        migrations: Path | None = None,
    ) -> SQLiteDatabase:
        """Open a file, make it if there is none, and migrate it.

        Raises DatabaseError, with what to do, for a file that cannot be written, is damaged, is
        not this server's, is newer than this code or was changed by hand; it is then untouched.
        """
        known = read_migrations(migrations or migrations_folder())
        refuse_unwritable(path)
        try:
            _refuse_damaged(path, busy_timeout_seconds)
            connection = connect(path, busy_timeout_seconds)
            try:
                pending(connection, known)
                migrate(connection, known)
                _use_write_ahead_log(connection, busy_timeout_seconds)
                connection.execute(_START_LOG, (str(uuid.uuid4()), time.time()))
                (epoch,) = connection.execute(_EPOCH).fetchone()
            finally:
                connection.close()
        except DatabaseError as error:
            raise DatabaseError(f"{path}: {error}") from error
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}; {advice(error)}") from error
        return cls(path, epoch, durability, deduplication_seconds, busy_timeout_seconds)

    def writer(self) -> SQLiteWriter:
        """A writer. Its connection is opened at the first commit."""
        return SQLiteWriter(self._open_to_write, self._deduplication_seconds)

    def reader(self) -> SQLiteReader:
        """A reader of its own connection. Raises ReadFailed when the file is not there any more."""
        try:
            connection = connect(self._path, self._busy_timeout_seconds, mode="rw")
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise ReadFailed(str(error)) from error
        return SQLiteReader(connection)

    def registry(self) -> SQLRegistry:
        """Users and revoked tokens, through a connection of its own."""
        return SQLRegistry(self._open_to_write, sqlite3.Error)

    @contextlib.contextmanager
    def source(self) -> Iterator[SQLiteSource]:
        with self._whole("BEGIN") as connection:
            yield SQLiteSource(connection)

    @contextlib.contextmanager
    def target(self) -> Iterator[SQLiteTarget]:
        with self._whole("BEGIN IMMEDIATE") as connection:
            yield SQLiteTarget(connection)

    def back_up(self, path: Path) -> None:
        with self._whole(None) as connection:
            back_up(connection, path)

    @contextlib.contextmanager
    def _whole(self, begin: str | None) -> Iterator[sqlite3.Connection]:
        """A connection in one transaction over all that is done with it. Raises DatabaseError."""
        try:
            with contextlib.closing(self._open_to_write()) as connection:
                if begin is not None:
                    connection.execute(begin)
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise DatabaseError(f"{self._path}: {error}; {advice(error)}") from error

    def _open_to_write(self) -> sqlite3.Connection:
        # Not "rwc": a file that vanished must not come back empty, with the old epoch.
        connection = connect(self._path, self._busy_timeout_seconds, mode="rw")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self._durability]}")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection


class SQLiteWriter:
    """Commits batches through one connection, which it opens again when it broke."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], deduplication_seconds: float
    ) -> None:
        self._connect = connect
        self._window = deduplication_seconds
        self._connection: sqlite3.Connection | None = None
        self._promised = self._synchronous = -1  # known once it is open

    def commit(self, batch: Batch) -> Committed:
        return self._transaction(lambda connection: store(connection, batch, self._window))

    def index(self, limit: int) -> int:
        # Lost in a crash it is made again from the log. The next commit's flush takes it along.
        return self._transaction(lambda connection: _index(connection, limit), may_be_lost=True)

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            forget_words = partial(_forget_words, connection)
            return trim(connection, retention, now, limit, self._window, forget_words)

        return self._transaction(work)

    def keep_minute(self, minute: NodeMinute, since: int) -> None:
        self._transaction(lambda connection: keep_minute(connection, minute, since))

    def checkpoint(self) -> None:
        try:
            connection = self._connection or self._open()
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _transaction(
        self, work: Callable[[sqlite3.Connection], _T], *, may_be_lost: bool = False
    ) -> _T:
        """Do all of a piece of work or nothing of it, as durably as promised if not said else."""
        try:
            connection = self._connection or self._open()
            self._synchronize(connection, _NORMAL if may_be_lost else self._promised)
            return _in_transaction(connection, work)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> WriteFailed:
        if _primary_code(error) in _CONNECTION_IS_DOUBTFUL:
            self.close()
        return WriteFailed(str(error))

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        (self._promised,) = connection.execute(_SYNCHRONOUS_NOW).fetchone()
        self._synchronous = self._promised
        self._connection = connection
        return connection

    def _synchronize(self, connection: sqlite3.Connection, level: int) -> None:
        """Set how durable the next transaction is; if that fails, there is none."""
        if self._synchronous != level:
            connection.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    # IMMEDIATE: what is read in the transaction stays true until it commits, because other
    # processes wait to begin theirs.
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
        return result
    finally:
        # Some errors (disk full) have rolled back by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _index(connection: sqlite3.Connection, limit: int) -> int:
    (progress,) = connection.execute(_PROGRESS).fetchone()
    rows = connection.execute(_UNINDEXED, (progress, limit)).fetchall()
    if rows:
        write_rows(
            connection, _ADD_WORDS, [(row[0], indexed_words(message_of(row[1:]))) for row in rows]
        )
        connection.execute(_SET_PROGRESS, (rows[-1][0],))
    return len(rows)


def _forget_words(connection: sqlite3.Connection, topic_id: int, last: int) -> None:
    (progress,) = connection.execute(_PROGRESS).fetchone()
    rows = connection.execute(_INDEXED, (topic_id, last, progress)).fetchall()
    # A contentless index is told which words a row had.
    write_rows(
        connection,
        _FORGET_WORDS,
        [("delete", row[0], indexed_words(message_of(row[1:]))) for row in rows],
    )


def connect(path: Path, busy_timeout_seconds: float, mode: str = "rwc") -> sqlite3.Connection:
    # Each connection is used by one native thread at a time, not always by the one that opened it.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection, patience_seconds: float) -> None:
    # SQLite does not always wait its busy timeout here when another server starts as well.
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_busy or time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def refuse_unwritable(path: Path) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DatabaseError(f"{path}: the directory {folder} does not exist; make it")
    if path.is_dir():
        raise DatabaseError(f"{path}: this is a directory; name a file in it")
    # SQLite keeps two more files beside the database, so the directory must be writable too.
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise DatabaseError(
                f"{path}: {place} cannot be written; give the user of this server the right to"
            )


def _refuse_damaged(path: Path, busy_timeout_seconds: float) -> None:
    """Look a file through before anything in it is changed; a very large one is taken as it is."""
    if not path.exists() or not 0 < path.stat().st_size <= MAX_CHECKED_BYTES:
        return
    connection = connect(path, busy_timeout_seconds, mode="ro")
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        connection.close()
    if found != "ok":
        where = " ".join(found.removeprefix("*** in database main ***").split())
        raise DatabaseError(f"the file is damaged ({where}); restore it from a backup")


def advice(error: sqlite3.Error) -> str:
    """What to do about a database that SQLite cannot open."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return "this is not an SQLite database; name another file"
    if code == sqlite3.SQLITE_CORRUPT:
        return "the file is damaged; restore it from a backup"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another program holds it; end that program and start again"
    return "see that the disk has room and that the user of this server may write there"


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the Python module itself (a closed connection, say) have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
