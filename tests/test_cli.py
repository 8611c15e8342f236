from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from python_pubsub_server import __version__
from python_pubsub_server.cli import cli, without_password
from python_pubsub_server.config import Settings, table
from python_pubsub_server.errors import ListenError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `.env`, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for row in table():
        monkeypatch.delenv(row.variable, raising=False)
    return tmp_path


class FrontDoor:
    """Stands where the server would start: what it was given, and how it ends."""

    def __init__(self) -> None:
        self.started: list[Settings] = []
        self.ending: int | Exception = 0

    def serve(self, settings: Settings) -> int:
        self.started.append(settings)
        if isinstance(self.ending, Exception):
            raise self.ending
        return self.ending


@pytest.fixture
def front_door(monkeypatch: pytest.MonkeyPatch) -> FrontDoor:
    door = FrontDoor()
    module = ModuleType("python_pubsub_server.pubsub_ws")
    module.serve = door.serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return door


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="pubsub-server")


def test_serve_starts_with_the_settings_of_all_three_places(
    front_door: FrontDoor, empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_directory / ".env").write_text("PUBSUB_DRAIN_SECONDS=1\n")
    monkeypatch.setenv("PUBSUB_PORT", "0")
    assert run("serve", "--host", "::1").exit_code == 0
    assert front_door.started == [Settings(host="::1", port=0, drain_seconds=1.0)]


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--allow-anonymous"], True),
        (["--allow-anonymous", "--port", "0"], True),
        (["--allow-anonymous=false"], False),
        (["--allow-anonymous", "yes"], True),
    ],
)
def test_a_yes_or_no_option_needs_no_value(
    front_door: FrontDoor, arguments: list[str], allowed: bool
) -> None:
    assert run("serve", *arguments).exit_code == 0
    assert front_door.started[0].allow_anonymous is allowed


def test_the_exit_code_of_the_server_is_that_of_the_program(front_door: FrontDoor) -> None:
    front_door.ending = 3
    assert run("serve").exit_code == 3


def test_a_server_that_cannot_start_says_so_in_one_line(front_door: FrontDoor) -> None:
    front_door.ending = ListenError("port 5000 is in use")
    result = run("serve")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "pubsub-server: port 5000 is in use\n"


def test_wrong_settings_are_told_before_anything_starts(
    front_door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_RATE_PUBLISH", "1")
    result = run("serve", "--port", "x")
    assert (result.exit_code, result.stdout, front_door.started) == (1, "", [])
    assert result.stderr.splitlines() == [
        "pubsub-server: --port: 'x' is not valid; write a whole number from 0 to 65535",
        "pubsub-server: PUBSUB_RATE_PUBLISH: '1' is not valid; write a rate such as 100/second, "
        "6000/minute, 10/hour or 1/day, or none",
    ]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("oracle://x", "--database-url: no database of the kind 'oracle'; write sqlite:///"),
        ("postgresql://127.0.0.1:1/x", "that --database-url names it"),
    ],
)
def test_a_setting_that_does_not_work_goes_by_the_name_that_was_typed(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = run("migrate", "--database-url", url)
    assert typed.exit_code == 1
    assert problem in typed.stderr
    monkeypatch.setenv("PUBSUB_DATABASE_URL", url)
    found = run("migrate")
    assert found.exit_code == 1
    assert problem.replace("--database-url", "PUBSUB_DATABASE_URL") in found.stderr


def test_an_option_beside_a_wrong_variable_does_not_take_its_name(
    front_door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_PORT", "x")
    (line,) = run("serve", "--port", "5001").stderr.splitlines()
    assert line.startswith("pubsub-server: PUBSUB_PORT: 'x' is not valid")


def test_an_unknown_option_is_a_usage_error_with_a_suggestion(front_door: FrontDoor) -> None:
    result = run("serve", "--databse-url", "x")
    assert result.exit_code == 2
    assert "--database-url" in result.stderr
    assert front_door.started == []


def test_an_option_that_wants_a_value_insists_on_it(front_door: FrontDoor) -> None:
    result = run("serve", "--port")
    assert result.exit_code == 2
    assert "requires an argument" in result.stderr


def test_serve_help_shows_every_setting_its_variable_and_default() -> None:
    shown = " ".join(run("serve", "--help").stdout.split())
    for row in table():
        assert f"{row.option} " in shown
        assert f"[{row.variable}; default: {row.default_text}]" in shown


def test_version() -> None:
    assert run("--version").stdout == f"pubsub-server, version {__version__}\n"


def test_the_example_of_the_docs_is_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_PROT", "8000")
    result = run("serve", "--durability", "always")
    assert f"serve --durability always\n{result.stderr}```" in DOCS.read_text(encoding="utf-8")


def test_help_does_not_load_the_server() -> None:
    program = (
        "import sys; from python_pubsub_server import cli;"
        "print([m for m in ('flask', 'eventlet', 'gevent', 'socketio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
    )
    assert done.stdout == "[]\n"


def test_migrate_makes_the_database_and_keeps_its_log(empty_directory: Path) -> None:
    first = run("migrate", "--database-url", "sqlite:///log.db")
    assert first.exit_code == 0, first.output
    assert (empty_directory / "log.db").is_file()
    assert first.stdout.startswith("sqlite:///log.db is up to date (log ")
    assert run("migrate", "--database-url", "sqlite:///log.db").stdout == first.stdout


def test_migrate_refuses_a_database_that_cannot_be(empty_directory: Path) -> None:
    (empty_directory / "log.db").write_bytes(b"this is no database\n" * 100)
    result = run("migrate", "--database-url", "sqlite:///log.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("pubsub-server: ")


def test_a_password_is_not_printed() -> None:
    assert without_password("postgresql://me:h@nt:r2@db/log") == "postgresql://me:***@db/log"
    assert without_password("sqlite:////srv/a:b@c.db") == "sqlite:////srv/a:b@c.db"
