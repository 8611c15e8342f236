"""`pubsub-server doctor`: what it finds, of real files, ports, Redis and PostgreSQL."""

from __future__ import annotations

import resource
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from postgresql import PostgreSQL
from python_pubsub_server import doctor
from python_pubsub_server.cli import cli
from python_pubsub_server.config import Settings, table
from python_pubsub_server.doctor import Finding
from python_pubsub_server.storage import sqlite_examine
from python_pubsub_server.storage.database import open_database
from python_pubsub_server.storage.examine import Examined
from redis_server import RedisServer, free_port
from server import RunningServer
from stories import Storage, draft

SUBJECTS = ["Python", "packages", "settings", "database", "disk", "files", "port", "clock"]
NOW = 1_800_000_000.0
SECRET = "thirty-two bytes are the least of a secret"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for row in table():
        monkeypatch.delenv(row.variable, raising=False)
    return tmp_path


def findings(*options: str, code: int = 0) -> dict[str, Finding]:
    """What it says, by subject; of several lines of one, the last."""
    arguments = ("doctor", "--host", "127.0.0.1", "--port", str(free_port()), *options)
    result = CliRunner().invoke(cli, arguments, prog_name="pubsub-server")
    assert result.exit_code == code, result.output
    lines = [Finding(*line.split(maxsplit=2)) for line in result.stdout.splitlines()]
    assert {line.state for line in lines} <= {"ok", "warning", "problem"}
    assert any(line.state == "problem" for line in lines) is bool(code)
    return {line.subject: line for line in lines}


def test_a_place_where_a_server_can_start_is_left_as_it_was(empty_directory: Path) -> None:
    found = findings()
    assert list(found) == SUBJECTS
    for subject in set(SUBJECTS) - {"disk", "files"}:
        assert found[subject].state == "ok", found[subject]
    assert found["database"].text.startswith("sqlite:///pubsub.db will be made or migrated")
    assert found["settings"].text == "open to this machine only"
    assert list(empty_directory.iterdir()) == []


def test_a_log_is_described(empty_directory: Path) -> None:
    database = open_database("sqlite:///pubsub.db")
    with closing(Storage(database)) as storage:
        storage.publish(draft(message_id="1"), draft(message_id="2"))
        line = findings()["database"]
    assert line.state == "ok"
    assert f"has 2 messages, log {database.epoch} (SQLite " in line.text


def damage(path: Path) -> None:
    open_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")


def newer(path: Path) -> None:
    open_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, '999_next', 'x', 0)")
        connection.commit()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"no database\n" * 100), "this is not an SQLite database"),
        (damage, "restore it from a backup"),
        (another_program, "another program's SQLite database"),
        (newer, "it is newer than this server"),
        (Path.mkdir, "this is a directory"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_problem(
    empty_directory: Path, make: object, said: str
) -> None:
    path = empty_directory / "pubsub.db"
    make(path)  # type: ignore[operator]
    line = findings(code=1)["database"]
    assert line.state == "problem"
    assert said in line.text


def test_a_directory_that_is_not_there_is_a_problem() -> None:
    found = findings("--database-url", "sqlite:///no/pubsub.db", code=1)
    assert found["database"].text.endswith("does not exist; make it")
    assert found["disk"].state == "problem"


def test_a_large_file_is_looked_through_only_if_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    open_database("sqlite:///pubsub.db")
    monkeypatch.setattr(sqlite_examine, "MAX_CHECKED_BYTES", 0)
    line = findings()["database"]
    assert line.state == "warning"
    assert "--thorough" in line.text
    assert findings("--thorough")["database"].state == "ok"


def test_wrong_settings_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_PROT", "1")
    result = CliRunner().invoke(cli, ["doctor", "--port", "x"], prog_name="pubsub-server")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "problem  settings  PUBSUB_PROT is not a setting; did you mean PUBSUB_PORT?",
        "problem  settings  --port: 'x' is not valid; write a whole number from 0 to 65535",
    ]


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ({"allow_anonymous": True}, "warning", "open to everybody"),
        ({"jwt_secret": SECRET}, "ok", "open to who has a token"),
        ({"jwt_public_key": "no-such-file.pem"}, "problem", "PUBSUB_JWT_PUBLIC_KEY"),
        ({"require_known_users": True}, "problem", "PUBSUB_REQUIRE_KNOWN_USERS needs"),
    ],
)
def test_who_would_be_let_in(settings: dict[str, object], state: str, said: str) -> None:
    (line,) = doctor.access(Settings(**settings))  # type: ignore[arg-type]
    assert (line.state, said in line.text) == (state, True), line


def test_a_loop_that_is_not_installed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (line,) = doctor.access(Settings(async_mode="gevent"))
    assert (line.state, line.text.endswith("; pip install gevent")) == ("problem", True)


@pytest.mark.parametrize(
    ("requirements", "state", "said"),
    [
        (["Flask==0.1", "pytest>=1; extra == 'x'"], "warning", "instead of 0.1"),
        (["no-such-package==1.0", "Flask==0.1"], "problem", "pip install 'no-such-package==1.0'"),
        (["psycopg[binary]>=3"], "ok", "all 0 "),
    ],
)
def test_packages_are_compared_with_the_pins(
    requirements: list[str], state: str, said: str
) -> None:
    line = doctor.packages(requirements)
    assert (line.state, said in line.text) == (state, True), line


def test_few_open_files_are_few_connections() -> None:
    assert doctor.files(1_024).state == "warning"
    assert "about 924 connections" in doctor.files(1_024).text
    assert doctor.files(65_536).state == doctor.files(resource.RLIM_INFINITY).state == "ok"


def test_a_disk_that_fills_up_is_told(
    empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(free: int) -> str:
        usage = (10**12, 10**12 - free, free)
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(*usage))
        return doctor.disk(empty_directory, 5).state

    assert [of(free) for free in (10**11, 4 * 10**10, 10**6)] == ["ok", "warning", "problem"]


class Usage:
    def __init__(self, total: int, used: int, free: int) -> None:
        self.total, self.used, self.free = total, used, free


class TestPort:
    def test_a_server_that_runs_there_is_described(self, tmp_path: Path) -> None:
        with RunningServer(tmp_path) as server:
            line = findings("--port", str(server.port), "--database-url", "sqlite:///other.db")
            node = server.get("/api/health")["node_id"]
        assert line["port"].state == "ok"
        assert f"{server.port} already: version " in line["port"].text
        assert line["port"].text.endswith(f"healthy, node {node}")

    def test_one_that_wants_tokens_is_one_too(self, tmp_path: Path) -> None:
        with RunningServer(tmp_path, jwt_secret=SECRET) as server:
            line = findings("--port", str(server.port), "--database-url", "sqlite:///other.db")
        assert line["port"].text.endswith("already, and lets only those in who may")

    def test_another_program_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as other:
            line = findings("--port", str(other.getsockname()[1]), code=1)["port"]
        assert line.state == "problem"
        assert line.text.endswith(
            "the port is in use; stop the other program or choose another port"
        )


class TestRedis:
    @pytest.fixture
    def redis(self, tmp_path: Path) -> Iterator[RedisServer]:
        with RedisServer(tmp_path) as redis:
            yield redis

    def test_one_that_answers(self, redis: RedisServer) -> None:
        found = findings("--redis-url", redis.url)
        assert found["Redis"].state == "ok"
        assert found["Redis"].text.startswith(f"{redis.url} answers in ")
        assert found["clock"].text.endswith(", and Redis too")

    def test_one_that_does_not(self) -> None:
        url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
        line = findings("--redis-url", url, code=1)["Redis"]
        assert line.state == "problem"
        assert "Connection refused; see that it runs" in line.text
        assert "hunter2" not in line.text


class TestPostgreSQL:
    def test_an_empty_one_and_a_log(self, postgresql: PostgreSQL) -> None:
        url = postgresql.new_database()
        found = findings("--database-url", url)
        assert "disk" not in found
        assert found["clock"].text.endswith(", and PostgreSQL too")
        database = open_database(url)
        # The tests' own server does not sync, which is worth a warning.
        assert "fsync" in findings("--database-url", url)["database"].text
        with closing(Storage(database)) as storage:
            storage.publish(draft(message_id="1"))
        looked = doctor.examine(url)
        assert (looked.epoch, looked.messages, looked.missing) == (database.epoch, 1, ())
        assert looked.is_durable is False

    def test_one_that_does_not_answer(self) -> None:
        url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/log"
        line = findings("--database-url", url, code=1)["database"]
        assert line.state == "problem"
        assert "see that it runs and that" in line.text
        assert "hunter2" not in line.text


@pytest.mark.parametrize(
    ("now", "database", "ahead", "state", "said"),
    [
        (NOW, None, {}, "ok", "it says 2027-01-15 08:00:00 UTC"),
        (0.0, None, {}, "problem", "it says 1970-01-01"),
        (NOW, Examined("SQLite", newest_at=NOW - 5), {}, "ok", "it says"),
        (NOW, Examined("SQLite", newest_at=NOW + 90), {}, "warning", "message is 90 s ahead of it"),
        (NOW, Examined("PostgreSQL", now=NOW - 9), {}, "warning", "PostgreSQL is -9 s off"),
        (NOW, None, {"Redis": 60.0}, "warning", "Redis is +60 s off this machine's; set the clock"),
    ],
)
def test_clocks_are_compared(
    now: float, database: Examined | None, ahead: dict[str, float], state: str, said: str
) -> None:
    line = doctor.clock(now, database, ahead)
    assert (line.state, said in line.text) == (state, True), line
