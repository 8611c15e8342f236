"""Migrations: each whole or not at all, and nothing touched where they don't belong."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from python_pubsub_server.errors import DatabaseError
from python_pubsub_server.storage.migrations import (
    migrate,
    migrations_folder,
    read_migrations,
    statements,
)
from python_pubsub_server.storage.sqlite import SQLiteDatabase

ROOT = Path(__file__).parents[1]
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's migrations that a test may change."""
    copy = tmp_path / "migrations"
    copy.mkdir()
    for file in migrations_folder().glob("*.sql"):
        (copy / file.name).write_text(file.read_text())
    return copy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pubsub.db"


def add_migration(folder: Path, sql: str) -> Path:
    number = len(list(folder.glob("*.sql"))) + 1
    file = folder / f"{number:03}_extra.sql"
    file.write_text(sql)
    return file


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def refused(path: Path, migrations: Path | None = None) -> str:
    """The one line that opening a database is refused with, after which the file is the same."""
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(DatabaseError) as refusal:
        SQLiteDatabase.open(path, migrations=migrations, busy_timeout_seconds=0.2)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    text = str(refusal.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_new_database_gets_every_migration_and_an_epoch(path: Path) -> None:
    epoch = SQLiteDatabase.open(path).epoch
    names = [name for (name,) in rows(path, "SELECT name FROM migrations ORDER BY number")]
    assert names == [migration.name for migration in read_migrations(migrations_folder())]
    assert len(epoch) == 36
    assert SQLiteDatabase.open(path).epoch == epoch


def test_a_new_migration_is_applied_once(path: Path, folder: Path) -> None:
    SQLiteDatabase.open(path, migrations=folder)
    add_migration(folder, "CREATE TABLE extra (x); INSERT INTO extra VALUES (1);")
    SQLiteDatabase.open(path, migrations=folder)
    SQLiteDatabase.open(path, migrations=folder)
    assert rows(path, "SELECT x FROM extra") == [(1,)]


def test_a_migration_that_fails_leaves_nothing_and_no_record(path: Path, folder: Path) -> None:
    SQLiteDatabase.open(path, migrations=folder)
    add_migration(folder, "CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(DatabaseError, match=r"_extra failed and was undone.*nowhere"):
        SQLiteDatabase.open(path, migrations=folder)
    assert rows(path, "SELECT name FROM sqlite_schema WHERE name = 'half'") == []
    assert rows(path, "SELECT name FROM migrations WHERE name LIKE '%extra'") == []


def test_a_migration_may_not_end_its_transaction(path: Path, folder: Path) -> None:
    add_migration(folder, "CREATE TABLE half (x); COMMIT; CREATE TABLE other (x);")
    with pytest.raises(DatabaseError, match="ends its own transaction"):
        SQLiteDatabase.open(path, migrations=folder)


def test_a_database_newer_than_the_code_is_refused(path: Path, folder: Path) -> None:
    newer = add_migration(folder, "CREATE TABLE newer (x);")
    SQLiteDatabase.open(path, migrations=folder)
    newer.unlink()
    assert "newer than this server" in refused(path, folder)


def test_a_changed_migration_is_refused(path: Path, folder: Path) -> None:
    SQLiteDatabase.open(path, migrations=folder)
    first = folder / "001_log.sql"
    first.write_text(first.read_text() + "\n-- one more word")
    assert "was changed after it was applied" in refused(path, folder)


def test_line_ends_do_not_change_a_migration(path: Path, folder: Path) -> None:
    SQLiteDatabase.open(path, migrations=folder)
    first = folder / "001_log.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    SQLiteDatabase.open(path, migrations=folder)


def test_a_hole_in_the_records_is_refused(path: Path) -> None:
    SQLiteDatabase.open(path)
    rows(path, "DELETE FROM migrations WHERE number = 1")
    assert "record of migration 1 is missing" in refused(path)


def test_a_hole_in_the_files_is_refused(path: Path, folder: Path) -> None:
    (folder / "001_log.sql").unlink()
    with pytest.raises(DatabaseError, match="without holes"):
        SQLiteDatabase.open(path, migrations=folder)
    assert not path.exists()


def test_a_file_with_another_name_is_refused(path: Path, folder: Path) -> None:
    (folder / "later.sql").write_text("SELECT 1;")
    with pytest.raises(DatabaseError, match="name a migration like"):
        SQLiteDatabase.open(path, migrations=folder)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("Dear diary, today nothing happened that a database would keep.\n" * 20)
    assert "not an SQLite database" in refused(path)


def test_a_damaged_database_is_refused(path: Path) -> None:
    SQLiteDatabase.open(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 4000 + whole[4100:])
    assert "damaged" in refused(path)


@pytest.mark.parametrize(
    "table", ["notes (text)", "migrations (id INTEGER, migration TEXT, batch INTEGER)"]
)
def test_the_database_of_another_program_is_refused(path: Path, table: str) -> None:
    rows(path, f"CREATE TABLE {table}")
    assert "another program's" in refused(path)


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DatabaseError, match="this is a directory"):
        SQLiteDatabase.open(path)


def test_a_missing_directory_is_refused(path: Path) -> None:
    with pytest.raises(DatabaseError, match="does not exist; make it"):
        SQLiteDatabase.open(path / "deeper" / "pubsub.db")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach too, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_a_place_that_cannot_be_written_is_refused(open_folder: Path, locked: str) -> None:
    path = open_folder / "pubsub.db"
    SQLiteDatabase.open(path)
    if locked == "file":
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        open_folder.chmod(0o777)
    else:
        path.chmod(0o666)
        open_folder.chmod(0o555)
    assert "cannot be written; give the user" in _refused_for_nobody(path)


def _refused_for_nobody(path: Path) -> str:
    """What opening is refused with for a user without special rights, in a process of its own."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eventlet, where another test imported it, warns of forks
        child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            SQLiteDatabase.open(path)
        except DatabaseError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def test_servers_that_start_together_migrate_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as servers:
        opened = list(servers.map(lambda _: SQLiteDatabase.open(path), range(8)))
    assert len({database.epoch for database in opened}) == 1
    assert len(rows(path, "SELECT number FROM migrations")) == len(
        read_migrations(migrations_folder())
    )


def test_a_server_that_waited_for_another_does_not_migrate_again(path: Path) -> None:
    known = read_migrations(migrations_folder())
    connection = sqlite3.connect(path, isolation_level=None)
    assert migrate(connection, known) == [migration.name for migration in known]
    assert migrate(connection, known) == []
    connection.close()


def test_a_script_is_cut_at_the_ends_of_its_statements_only() -> None:
    script = """
    CREATE TABLE a (x TEXT DEFAULT ';'); -- one; two
    CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; DELETE FROM a; END;
    /* a; b */ DROP TABLE a
    """
    found = list(statements(script))
    assert len(found) == 3
    assert found[1].count("DELETE") == 2
    assert found[2].endswith("DROP TABLE a")


def test_the_build_names_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [file.parent for file in (ROOT / "src").rglob("__init__.py")]
    found = {".".join(folder.relative_to(ROOT / "src").parts) for folder in folders}
    assert set(settings["packages"]) == found | {"python_pubsub_server.migrations"}
