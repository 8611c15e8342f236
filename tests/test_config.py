from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from python_pubsub_server.config import CLIENT_VARIABLES, Setting, Settings, load, table
from python_pubsub_server.errors import ConfigurationError
from python_pubsub_server.settings_text import without_password

NOWHERE = Path("/nonexistent/.env")
DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"

RIGHT: dict[str, list[tuple[str, Any]]] = {
    "host": [("127.0.0.1", "127.0.0.1"), ("::", "::"), (" localhost ", "localhost")],
    "port": [("0", 0), ("65535", 65535)],
    "database_url": [("sqlite:////var/lib/pubsub.db", "sqlite:////var/lib/pubsub.db")],
    "redis_url": [("redis://:pw@h:1/0", "redis://:pw@h:1/0"), ("none", None)],
    "durability": [("normal", "normal"), ("FULL", "full")],
    "async_mode": [("gevent", "gevent")],
    "allow_anonymous": [("yes", True), ("On", True), ("1", True), ("off", False), ("0", False)],
    "jwt_secret": [
        ("x" * 32, "x" * 32),
        ("\u00e9" * 16, "\u00e9" * 16),
        ("none", None),
        ("", None),
    ],
    "jwt_public_key": [
        ("-----BEGIN PUBLIC KEY-----\\nA\\n-----", "-----BEGIN PUBLIC KEY-----\nA\n-----"),
        ('{"keys": []}', '{"keys": []}'),
        ("keys/public.pem", "keys/public.pem"),
        ("none", None),
    ],
    "jwt_audience": [("https://a.example", "https://a.example"), ("", None)],
    "jwt_issuer": [("me", "me"), ("none", None)],
    "require_known_users": [("true", True), ("no", False)],
    "trusted_proxies": [
        ("10.0.0.5, 192.168.0.0/16,::1", ("10.0.0.5/32", "192.168.0.0/16", "::1/128")),
        ("none", ()),
        ("", ()),
    ],
    "cors_origins": [
        (
            "https://A.example, http://localhost:8080",
            ("https://a.example", "http://localhost:8080"),
        ),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("*", ("*",)),
        ("none", ()),
        ("", ()),
    ],
    "retention_messages": [("1", 1)],
    "retention_seconds": [("0.5", 0.5), ("none", None), ("", None)],
    "deduplication_seconds": [("0", 0.0), ("2.5", 2.5)],
    "max_message_bytes": [("1", 1)],
    "outbound_bytes": [("65536", 65536)],
    "rate_publish": [("100/second", "100/second"), ("6 / Minute", "6/minute"), ("none", None)],
    "rate_connect": [("10/hour", "10/hour"), ("1/day", "1/day"), ("", None)],
    "connections_per_address": [("1", 1), ("none", None)],
    "topics_per_publisher": [("10", 10), ("none", None)],
    "replay_limit": [("1", 1)],
    "chat_heartbeat_seconds": [("15", 15.0)],
    "chat_offline_seconds": [("0.5", 0.5)],
    "alert_loop_lag_ms": [("100", 100)],
    "alert_disk_percent": [("0", 0), ("100", 100)],
    "alert_silent_topics": [
        ("none", ()),
        ("", ()),
        ("orders=60, a=b=0.5,", (("orders", 60.0), ("a=b", 0.5))),
    ],
    "alert_lag_messages": [("1", 1), ("none", None)],
    "drain_seconds": [("0", 0.0)],
    "log_level": [("DEBUG", "debug")],
    "log_format": [("json", "json")],
}
WRONG: dict[str, list[str]] = {
    "host": ["", "http://localhost", "a b"],
    "port": ["65536", "-1", "http", "", "5_000", "\u0665"],
    "database_url": ["pubsub.db", "sqlite://", "sqlite:///", "://x"],
    "redis_url": ["127.0.0.1:6379", "http://127.0.0.1", "redis://"],
    "durability": ["", "high"],
    "async_mode": ["threading", ""],
    "allow_anonymous": ["", "maybe", "2"],
    "jwt_secret": ["x" * 31, "short"],
    "jwt_public_key": ["-----BEGIN PRIVATE KEY-----\nA", "a\nb"],
    "jwt_audience": ["a\nb"],
    "jwt_issuer": ["a\nb"],
    "require_known_users": ["perhaps", ""],
    "trusted_proxies": ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "1.2.3.4;5.6.7.8"],
    "cors_origins": ["example.com", "https://a.example/", "https://a.example,*", "ftp://a.example"],
    "retention_messages": ["0", "many"],
    "retention_seconds": ["0", "-1", "nan", "inf"],
    "deduplication_seconds": ["-1", "nan", "1e9", ""],
    "max_message_bytes": ["0", "1MB", "99999999999999999999"],
    "outbound_bytes": ["0"],
    "rate_publish": ["100", "0/second", "1/week", "-1/second", "1.5/second", "1/second;2/day"],
    "rate_connect": ["many", "/second", "9999999999/second"],
    "connections_per_address": ["0", "-1", "some"],
    "topics_per_publisher": ["0", "all"],
    "replay_limit": ["0"],
    "chat_heartbeat_seconds": ["0", "-1", "soon"],
    "chat_offline_seconds": ["0", "-1", "soon"],
    "alert_loop_lag_ms": ["0", "fast"],
    "alert_disk_percent": ["101", "-1"],
    "alert_silent_topics": ["orders", "orders=", "=5", "orders=0", "orders:*=5", "orders=soon"],
    "alert_lag_messages": ["0", "many"],
    "drain_seconds": ["-1", "soon"],
    "log_level": ["loud"],
    "log_format": ["xml"],
}


def problems(
    options: dict[str, str | None] | None = None,
    environ: dict[str, str] | None = None,
    dotenv: Path = NOWHERE,
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(options or {}, environ or {}, dotenv)
    return str(caught.value).split("\n")


def test_every_setting_has_right_and_wrong_values_here() -> None:
    names = {row.name for row in table()}
    assert set(RIGHT) == names
    assert set(WRONG) == names


@pytest.mark.parametrize(
    ("name", "text", "value"), [(n, t, v) for n, cases in RIGHT.items() for t, v in cases]
)
def test_a_right_value_is_read(name: str, text: str, value: Any) -> None:
    settings = load({}, {f"PUBSUB_{name.upper()}": text}, NOWHERE)
    assert getattr(settings, name) == value
    assert type(getattr(settings, name)) is type(value)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in WRONG.items() for t in texts])
def test_a_wrong_value_is_refused_with_what_to_write(name: str, text: str) -> None:
    variable = f"PUBSUB_{name.upper()}"
    (line,) = problems(environ={variable: text})
    assert re.fullmatch(rf"{variable}: .+ is not valid; write .+", line)
    secret = {row.name for row in table() if row.rule.secret}
    assert secret == {"database_url", "redis_url", "jwt_secret", "jwt_public_key"}
    assert (repr(text) in line) is (name not in secret)


def test_without_anything_the_defaults_hold() -> None:
    assert load({}, {}, NOWHERE) == Settings()


def test_every_default_could_be_written_by_a_user() -> None:
    environ = {row.variable: row.default_text for row in table()}
    assert load({}, environ, NOWHERE) == Settings()


def test_an_option_wins_over_the_environment_and_that_over_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PUBSUB_HOST=::1\nPUBSUB_PORT=1\nexport PUBSUB_REPLAY_LIMIT='1' # few\n")
    environ = {"PUBSUB_PORT": "2", "PUBSUB_REPLAY_LIMIT": "2"}
    settings = load({"replay_limit": "3", "host": None}, environ, dotenv)
    assert (settings.host, settings.port, settings.replay_limit) == ("::1", 2, 3)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PUBSUB_LOG_LEVEL=loud\nPUBSUB_HOTS=::\n")
    lines = problems({"port": "x"}, {"PUBSUB_REPLAY_LIMIT": "0"}, dotenv)
    assert lines == [
        "PUBSUB_HOTS in .env is not a setting; did you mean PUBSUB_HOST?",
        "--port: 'x' is not valid; write a whole number from 0 to 65535",
        "PUBSUB_REPLAY_LIMIT: '0' is not valid; write a whole number from 1 to 9007199254740992",
        "PUBSUB_LOG_LEVEL in .env: 'loud' is not valid; write debug, info, warning or error",
    ]


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    (line,) = problems(environ={"PUBSUB_PROT": "1"})
    assert line == "PUBSUB_PROT is not a setting; did you mean PUBSUB_PORT?"
    (line,) = problems(environ={"PUBSUB_ZZZZZZZZ": "1"})
    assert line == "PUBSUB_ZZZZZZZZ is not a setting; see pubsub-server serve --help"


def test_other_programs_variables_are_theirs(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("DATABASE_URL=x\nPORT=y\n")
    assert load({}, {"PORT": "x"}, dotenv) == Settings()


def test_what_clients_are_told_is_no_mistake_of_a_server() -> None:
    assert load({}, dict.fromkeys(CLIENT_VARIABLES, "x"), NOWHERE) == Settings()


def test_a_secret_is_not_shown() -> None:
    (line,) = problems(environ={"PUBSUB_DATABASE_URL": "me:hunter2@host"})
    assert line == (
        "PUBSUB_DATABASE_URL: the value is not valid; write a URL such as sqlite:///pubsub.db"
    )


def test_a_password_is_not_shown() -> None:
    assert without_password("redis://:s3cret@host:1/0") == "redis://:***@host:1/0"
    assert without_password("postgresql://me:s@host/db") == "postgresql://me:***@host/db"
    assert without_password("redis://host/0?password=s&db=1") == "redis://host/0?password=***&db=1"
    assert without_password("sqlite:///a@b.db") == "sqlite:///a@b.db"


def test_a_problem_stays_one_line_whatever_the_value_and_the_name() -> None:
    (line,) = problems(environ={"PUBSUB_LOG_LEVEL": "a\nb" * 1000})
    assert len(line) < 200
    (line,) = problems(environ={"PUBSUB_X\nY": "1"})
    assert line.startswith("PUBSUB_X\\nY is not a setting")


def test_dotenv_values_are_taken_as_written(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("\ufeffPUBSUB_DATABASE_URL=sqlite:///${HOME}.db\n", encoding="utf-8")
    assert load({}, {}, dotenv).database_url == "sqlite:///${HOME}.db"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"# fine\nPUBSUB_PORT: 5000\n", ".env: line 2 cannot be read; write NAME=VALUE"),
        (b"PUBSUB_HOST=\xff\n", ".env: cannot be read: 'utf-8' codec"),
    ],
)
def test_an_unreadable_dotenv_is_refused(tmp_path: Path, content: bytes, line: str) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(content)
    assert problems(dotenv=dotenv)[0].startswith(line)


def test_a_directory_called_dotenv_is_somebody_elses(tmp_path: Path) -> None:
    assert load({}, {}, tmp_path) == Settings()


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_every_setting_is_documented_with_its_default(row: Setting) -> None:
    shown = "none" if row.default_text == "none" else f"`{row.default_text}`"
    assert f"| `{row.variable}` | {shown} | " in DOCS.read_text(encoding="utf-8")


def test_the_docs_name_no_setting_that_does_not_exist() -> None:
    documented = re.findall(r"^\| `(PUBSUB_\w+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert documented == [row.variable for row in table()]
