"""A log that moves from one database to another is the same log."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import psycopg
import pytest

from postgresql import PostgreSQL
from python_pubsub_server.errors import DatabaseError
from python_pubsub_server.model import Claim, Interest, SpanEnd, SpanStart
from python_pubsub_server.storage.archive import (
    NOT_ARCHIVED,
    TABLES,
    read_archive,
    write_archive,
)
from python_pubsub_server.storage.database import (
    Batch,
    Database,
    Here,
    Retention,
    open_database,
)
from stories import WINDOW, Storage, draft


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/other.db"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return postgresql.new_database()


@pytest.fixture
def other(other_url: str) -> Database:
    return open_database(other_url, deduplication_seconds=WINDOW)


@pytest.fixture
def lived(storage: Storage) -> Storage:
    """A log in which something of everything happened."""
    big = {"text": 'é 😀 \u2028 \\ " \t', "number": 2**63 + 1, "nothing": None}
    storage.commit(interests=(Interest("bob", "news"), Interest("bob", "a*")))
    storage.publish(draft(message_id="1", message=big), draft(message_id="2"), at=1000.5)
    storage.publish(draft("a", "3", fingerprint=-(2**63)), draft("gone", "4"), at=1001.25)
    storage.claim(Claim("bob", "news", "1", None), Claim("ann", "a", "3", 1))
    storage.writer.commit(
        Batch(
            1002.0,
            deliveries=[SpanStart(7, "node", "bob", "news", 0, 1002.0)],
            here=Here("node", 4),
        )
    )
    storage.writer.commit(Batch(1003.0, deliveries=[SpanEnd(7, 4, 1003.0, "slow")]))
    storage.index_all()
    while storage.writer.trim(Retention(1, None), 1004.0, 100):
        pass
    storage.publish(draft("gone", "5"), at=1005.0)
    with closing(storage.database.registry()) as registry:
        registry.add_user("ann", 1.5)
        registry.disable_user("dan", 2.5)
        registry.revoke("t-1", 3.5, None)
    return storage


def archive(database: Database) -> bytes:
    file = io.BytesIO()
    write_archive(database, file)
    return file.getvalue()


def move(source: Database, target: Database) -> None:
    read_archive(io.BytesIO(archive(source)), target)


def test_everything_arrives_as_it_was(lived: Storage, other: Database, other_url: str) -> None:
    before = archive(lived.database)
    head, rows = read_archive(io.BytesIO(before), other)
    assert archive(other) == before
    assert rows == len(before.splitlines()) - len(TABLES) - 2
    assert head.epoch == lived.database.epoch
    assert open_database(other_url).epoch == head.epoch


def test_a_moved_log_goes_on_where_it_was(lived: Storage, other: Database) -> None:
    move(lived.database, other)
    with closing(other.reader()) as reader:
        assert reader.last_position() == lived.reader.last_position() == 5
        assert reader.last_timestamp() == 1005.0
        assert reader.loss("bob", "news") == lived.reader.loss("bob", "news")
        assert [m.message_id for m in reader.unconsumed("bob", "a", 0, 9, 9, 9999).messages] == [
            "3"
        ]
    moved = Storage(other)
    with closing(moved):
        again, new = moved.publish(draft("a", "3", fingerprint=-(2**63)), draft("gone", "6"))
        assert (again.duplicate, again.message.sequence) == (True, 1)
        assert (new.duplicate, new.message.sequence) == (False, 3)
        assert moved.reader.last_position() == 6
        assert moved.claim(Claim("bob", "gone", "6", None), Claim("ann", "a", "3", None)) == [1, 0]
        moved.index_all()
        assert moved.found("ann") == ["6", "5", "4", "3", "2"]


def test_positions_of_deleted_messages_are_not_given_again(
    storage: Storage, other: Database
) -> None:
    storage.publish(draft(message_id="1"), draft(message_id="2"), at=1000.0)
    while storage.writer.trim(Retention(1_000, 1.0), 2000.0, 100):
        pass
    move(storage.database, other)
    with closing(Storage(other)) as moved:
        (new,) = moved.publish(draft(message_id="3"))
        assert new.message.sequence == 3
        assert moved.reader.last_position() == 3


def test_a_log_that_is_used_is_not_filled(lived: Storage, other: Database) -> None:
    whole = archive(lived.database)
    read_archive(io.BytesIO(whole), other)
    with pytest.raises(DatabaseError, match="not empty"):
        read_archive(io.BytesIO(whole), other)
    assert archive(other) == whole


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    lines = whole.splitlines(keepends=True)
    yield "empty", b""
    yield "no archive", b"SQLite format 3\0\xff\n"
    yield "cut off", b"".join(lines[:-1])
    yield "cut in a line", whole[: len(whole) // 2]
    yield "a row is missing", b"".join(line for line in lines if b'"3"' not in line)
    yield "a row is too short", whole.replace(b'[1,"ann"]', b"[1]").replace(b'[2,"ann"]', b"[2]")
    yield "more behind the end", whole + lines[-1]
    yield "another format", whole.replace(b'{"archive":1', b'{"archive":2', 1)
    migration = msgspec.json.decode(lines[0])["migration"]
    yield "other tables", whole.replace(migration.encode(), b"001_log", 1)
    yield "an unknown table", whole.replace(b'"topics"', b'"migrations"', 1)


def test_what_is_not_a_whole_archive_of_this_version_changes_nothing(
    lived: Storage, other: Database
) -> None:
    empty = archive(other)
    whole = archive(lived.database)
    for what, damaged in damages(whole):
        assert damaged != whole, what
        with pytest.raises(DatabaseError):
            read_archive(io.BytesIO(damaged), other)
        assert archive(other) == empty, what
    read_archive(io.BytesIO(whole), other)


def test_an_export_is_of_one_moment(lived: Storage) -> None:
    with lived.database.source() as source:
        head = source.head()
        lived.publish(draft(message_id="later"), at=1006.0)
        assert source.head() == head
        assert [row[3] for row in source.rows("messages")][-1] == "5"


def test_every_table_is_archived_or_made_anew(database_url: str, storage: Storage) -> None:
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
                " AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'search_%'"
            ).fetchall()
            columns = {
                name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
                for (name,) in rows
            }
    else:
        with psycopg.connect(database_url) as connection:
            found = connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = current_schema()"
            ).fetchall()
        columns = {}
        for table, column in found:
            columns.setdefault(table, set()).add(column)
    kept = {name: set for name, set in columns.items() if name not in NOT_ARCHIVED}
    assert kept.keys() == TABLES.keys()
    for table, names in kept.items():
        assert names - set(TABLES[table][0]) in (set(), {"replay_id"})


def test_a_backup_is_the_database_as_it_was(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/pubsub.db")
    copy = tmp_path / "copy.db"
    with closing(Storage(database)) as storage:
        storage.publish(draft(message_id="1"))
        database.back_up(copy)
        storage.publish(draft(message_id="2"))
        with pytest.raises(DatabaseError, match="already"):
            database.back_up(copy)
        with pytest.raises(DatabaseError, match="already"):
            database.back_up(tmp_path / "pubsub.db")
        with pytest.raises(DatabaseError):
            database.back_up(tmp_path / "no" / "copy.db")
        assert storage.sequences() == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "pubsub.db"]
    restored = open_database(f"sqlite:///{copy}")
    assert restored.epoch == database.epoch
    with closing(Storage(restored)) as again:
        assert again.sequences() == [1]


def test_postgresql_says_how_it_is_backed_up(postgresql: PostgreSQL, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="pg_dump"):
        open_database(postgresql.new_database()).back_up(tmp_path / "copy")
