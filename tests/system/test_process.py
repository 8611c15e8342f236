"""How a server starts, stops and crashes, seen from outside."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from engines import is_whole, rows
from server import ROOT, RunningServer, environment, serve_command
from system.clients import Client

TOPICS = ("a", "b")
PUBLISHERS = 6
ENOUGH = 200  # answered publishes, before the server is stopped
PATIENCE = 30.0


class Publishers:
    """Threads that publish one message after the other until the server is gone."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.answered: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.enough = threading.Event()
        self.threads = [
            threading.Thread(target=self._publish, args=(n,)) for n in range(PUBLISHERS)
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()
        assert self.enough.wait(PATIENCE)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert self.wrong == []

    def _publish(self, publisher: int) -> None:
        with requests.Session() as http:
            http.trust_env = False
            for number in range(1_000_000):
                body = {
                    "topic": TOPICS[number % len(TOPICS)],
                    "message_id": f"{publisher}-{number}",
                    "message": number,
                    "producer": f"p-{publisher}",
                }
                try:
                    response = http.post(
                        self.server.url + "/publish",
                        json=body,
                        headers={"Prefer": "return=representation"},
                        timeout=PATIENCE,
                    )
                except requests.RequestException:
                    return
                if response.status_code == 503:
                    return
                if response.status_code != 200:
                    self.wrong.append(response.text)
                    return
                self.answered.append(response.json())
                if len(self.answered) >= ENOUGH:
                    self.enough.set()


def stored(server: RunningServer) -> dict[tuple[str, int], str]:
    """Every message's id by topic and sequence; the sequences have no gaps."""
    found: dict[tuple[str, int], str] = {}
    for topic in TOPICS:
        path: str | None = f"/messages?topic={topic}&limit=1000"
        while path:
            response = server.http.get(server.url + path, timeout=PATIENCE)
            found |= {(topic, row["sequence"]): row["message_id"] for row in response.json()}
            path = response.links.get("next", {}).get("url")
        count = sum(name == topic for name, _ in found)
        assert {sequence for name, sequence in found if name == topic} == set(range(1, count + 1))
    return found


@pytest.mark.parametrize(
    ("end", "durability"),
    [
        (RunningServer.stop, "full"),
        (RunningServer.interrupt, "full"),
        (RunningServer.kill, "full"),
        (RunningServer.kill, "normal"),
    ],
)
def test_what_was_answered_is_there_after_a_restart(
    tmp_path: Path, end: Callable[[RunningServer], int], durability: str
) -> None:
    with RunningServer(tmp_path, durability=durability, log_level="info") as server:
        publishers = Publishers(server)
        publishers.start()
        code = end(server)
        publishers.join()
        assert code == (-9 if end is RunningServer.kill else 0)
        assert "Traceback" not in server.log
        epoch = publishers.answered[0]["epoch"]
        server.start()
        found = stored(server)
        for answer in publishers.answered:
            assert found[answer["topic"], answer["sequence"]] == answer["message_id"]
        again = server.http.post(
            server.url + "/publish",
            json={"topic": "a", "message_id": "new", "message": 1, "producer": "p"},
            headers={"Prefer": "return=representation"},
            timeout=PATIENCE,
        ).json()
        assert again["epoch"] == epoch
        assert again["sequence"] == sum(topic == "a" for topic, _ in found) + 1


def test_acknowledged_events_survive_a_crash(tmp_path: Path) -> None:
    with RunningServer(tmp_path, log_level="info") as server:
        answers: list[Any] = []
        with Client(server.url) as client:
            enough = threading.Event()

            def acknowledged(answer: Any) -> None:
                answers.append(answer)
                if len(answers) == 100:
                    enough.set()

            for number in range(2_000):
                body = {"topic": "a", "message_id": f"{number}", "message": 1, "producer": "p"}
                client.sio.emit("publish", body, callback=acknowledged)
            assert enough.wait(PATIENCE)
            server.kill()
        server.start()
        found = stored(server)
        assert [answer["sequence"] for answer in answers] == list(range(1, len(answers) + 1))
        assert all(found["a", sequence + 1] == str(sequence) for sequence in range(len(answers)))


def test_a_stop_says_goodbye_to_clients(tmp_path: Path) -> None:
    with (
        RunningServer(tmp_path) as server,
        Client(server.url) as one,
        Client(server.url, ("polling",)) as other,
    ):
        gone = [threading.Event(), threading.Event()]
        for client, event in zip((one, other), gone, strict=True):
            client.sio.on("disconnect", lambda *_, event=event: event.set())
            client.subscribe("a")
        assert server.stop() == 0
        assert all(event.wait(PATIENCE) for event in gone)


@pytest.mark.sqlite(reason="where its write-ahead log stays")
def test_a_stop_leaves_one_file(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        with Client(server.url) as client:
            client.subscribe("a")
            server.publish("a", 1)
            assert client.messages(1)[0]["message"] == 1
            assert server.stop() == 0
        assert [path.name for path in tmp_path.iterdir()] == ["pubsub.db"]


# Starting


def refusal(directory: Path, settings: dict[str, Any] | None = None, **variables: str) -> str:
    """Start a server that must refuse to; its one line on standard error."""
    chosen = {"host": "127.0.0.1", "port": 0} | (settings or {})
    return refused_command(directory, serve_command(**chosen), 1, **variables)


def refused_command(directory: Path, command: list[str], code: int, **variables: str) -> str:
    ended = subprocess.run(
        command,
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    if code == 1:
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
    return ended.stderr


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        line = refusal(tmp_path, {"port": port})
    assert str(port) in line
    assert "in use" in line
    assert contents(tmp_path) == {}


def test_an_address_of_another_machine_is_said(tmp_path: Path) -> None:
    line = refusal(tmp_path, {"host": "192.0.2.1"})
    assert "192.0.2.1" in line
    assert contents(tmp_path) == {}


@pytest.mark.sqlite(reason="a file that cannot be")
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file/pubsub.db", "director"),
        ("missing/pubsub.db", "does not exist"),
        ("folder", "is a directory"),
        ("/proc/pubsub.db", "/proc"),
    ],
)
def test_a_database_that_cannot_be_written_is_said(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    line = refusal(tmp_path, {"database_url": f"sqlite:///{tmp_path / place}"})
    assert place in line
    assert why in line
    assert contents(tmp_path) == {"file": b"a file"}
    assert list((tmp_path / "folder").iterdir()) == []


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cooking (recipe TEXT)")


def newer(path: Path) -> None:
    shutil.copy(ROOT / "pubsub.db.example", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO migrations SELECT max(number) + 1, '999_future', '', 0 FROM migrations"
        )


def changed(path: Path) -> None:
    shutil.copy(ROOT / "pubsub.db.example", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE migrations SET checksum = 'x' WHERE number = 1")


def hole(path: Path) -> None:
    shutil.copy(ROOT / "pubsub.db.example", path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM migrations WHERE number = 1")


def cut(path: Path) -> None:
    path.write_bytes((ROOT / "pubsub.db.example").read_bytes()[:20_000])


def garbage_inside(path: Path) -> None:
    whole = bytearray((ROOT / "pubsub.db.example").read_bytes())
    whole[100:4_000] = b"\xde\xad" * 1_950
    path.write_bytes(whole)


def text(path: Path) -> None:
    path.write_text("Dear diary, " * 100)


@pytest.mark.sqlite(reason="files that are no database, or another one's")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (foreign, "another program"),
        (newer, "newer"),
        (changed, "changed"),
        (hole, "missing"),
        (cut, "damaged"),
        (garbage_inside, "damaged"),
        (text, "not an SQLite database"),
    ],
)
def test_a_database_that_is_not_ours_to_change_is_left_alone(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(tmp_path / "pubsub.db")
    before = contents(tmp_path)
    line = refusal(tmp_path)
    assert "pubsub.db" in line
    assert why in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("settings", "variables", "parts"),
    [
        ({"port": "http"}, {}, ("--port", "'http'", "65535")),
        ({"database_url": "oracle://x"}, {}, ("--database-url", "sqlite:///")),
        ({}, {"PUBSUB_LOG_LEVEL": "loud"}, ("PUBSUB_LOG_LEVEL", "'loud'", "info")),
        ({}, {"PUBSUB_PROT": "5000"}, ("PUBSUB_PROT", "PUBSUB_PORT")),
        ({}, {"PUBSUB_JWT_SECRET": "s" * 20}, ("PUBSUB_JWT_SECRET",)),
    ],
)
def test_a_wrong_setting_is_said(
    tmp_path: Path, settings: dict[str, Any], variables: dict[str, str], parts: tuple[str, ...]
) -> None:
    line = refusal(tmp_path, settings, **variables)
    for part in parts:
        assert part in line
    assert "s" * 40 not in line
    assert contents(tmp_path) == {}


def test_an_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    said = refused_command(tmp_path, serve_command(prot=5000), 2)
    assert "--prot" in said
    assert "--port" in said
    assert contents(tmp_path) == {}


def test_two_servers_that_start_at_once_share_one_database(tmp_path: Path) -> None:
    servers = [RunningServer(tmp_path, log_level="info") for _ in range(2)]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(RunningServer.start, servers))
        for number, server in enumerate(servers):
            assert server.get("/health/ready")
            assert server.publish("a", number, message_id=f"m-{number}").json() == {"status": "ok"}
        for server in servers:
            assert [row["message"] for row in server.get("/messages")] == [1, 0]
            assert [row["sequence"] for row in server.get("/messages")] == [2, 1]
            assert server.stop() == 0
    finally:
        for server in servers:
            server.__exit__()
    applied = rows(tmp_path, "SELECT count(*) FROM migrations")
    assert applied == [(len(list((ROOT / "migrations").glob("*.sql"))),)]
    assert rows(tmp_path, "SELECT count(*) FROM log") == [(1,)]
    assert is_whole(tmp_path)


def test_both_ways_to_start_it_say_which_version_it_is(tmp_path: Path) -> None:
    for command in (
        [sys.executable, "-m", "python_pubsub_server.pubsub_ws", "--help"],
        [sys.executable, "-c", "from python_pubsub_server.cli import main; main()", "--version"],
    ):
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout
