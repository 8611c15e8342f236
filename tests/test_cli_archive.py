"""`pubsub-server export`, `import` and `backup`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postgresql import PostgreSQL
from python_pubsub_server.cli import cli
from python_pubsub_server.config import table
from python_pubsub_server.storage.database import open_database
from stories import Storage, draft


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for row in table():
        monkeypatch.delenv(row.variable, raising=False)
    return tmp_path


def run(*arguments: str, code: int = 0, given: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, arguments, input=given, prog_name="pubsub-server")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def epoch() -> str:
    """The log of the default database, which has two messages."""
    database = open_database("sqlite:///pubsub.db")
    with closing(Storage(database)) as storage:
        storage.publish(draft(message_id="1"), draft(message_id="2"))
    return database.epoch


def ids(url: str) -> list[str]:
    with closing(Storage(open_database(url))) as storage:
        return [message.message_id for message in storage.log("news")]


def test_a_log_moves_to_postgresql_and_back(epoch: str, postgresql: PostgreSQL) -> None:
    there = postgresql.new_database()
    done = run("export", "log.jsonl")
    assert done.stderr == f"exported the log {epoch} up to position 2\n"
    done = run("import", "log.jsonl", "--database-url", there)
    assert f" is the log {epoch} up to position 2, " in done.stdout
    assert ids(there) == ["1", "2"]
    lines = run("export", "--database-url", there).stdout_bytes
    assert lines == Path("log.jsonl").read_bytes()
    run("import", "--database-url", "sqlite:///back.db", given=lines)
    assert ids("sqlite:///back.db") == ["1", "2"]
    assert open_database("sqlite:///back.db").epoch == epoch


def test_a_database_that_is_used_is_not_filled(epoch: str) -> None:
    run("export", "log.jsonl")
    done = run("import", "log.jsonl", code=1)
    assert done.stderr == (
        "pubsub-server: the database to import into is not empty; name an empty one\n"
    )


@pytest.mark.parametrize("arguments", [("export",), ("export", "log.jsonl"), ("backup", "copy")])
def test_nothing_is_made_where_there_is_no_database(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, code=1)
    assert done.stderr == "pubsub-server: pubsub.db: there is no such database\n"
    assert list(Path().iterdir()) == []


def test_a_file_that_cannot_be_is_said(epoch: str) -> None:
    done = run("export", "no/log.jsonl", code=1)
    assert done.stderr == (
        "pubsub-server: no/log.jsonl cannot be written: No such file or directory\n"
    )
    done = run("import", "no.jsonl", code=1)
    assert done.stderr == "pubsub-server: no.jsonl cannot be read: No such file or directory\n"


def test_a_backup_is_a_database(epoch: str) -> None:
    assert run("backup", "copy.db").stdout.startswith("copied to copy.db, ")
    assert ids("sqlite:///copy.db") == ["1", "2"]
    done = run("backup", "copy.db", code=1)
    assert done.stderr == "pubsub-server: copy.db: there is such a file already; name another\n"
