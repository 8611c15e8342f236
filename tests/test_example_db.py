"""pubsub.db.example is what its maker makes, and a server shows it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from server import ROOT, RunningServer

EXAMPLE = ROOT / "pubsub.db.example"
MAKER = ROOT / "examples" / "make_example_db.py"


def run_maker(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MAKER), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_committed_file_is_current() -> None:
    checked = run_maker("--check")
    assert checked.returncode == 0, checked.stderr


def test_the_check_notices_a_changed_row(tmp_path: Path) -> None:
    changed = tmp_path / "changed.db"
    shutil.copy(EXAMPLE, changed)
    with closing(sqlite3.connect(changed)) as connection, connection:
        connection.execute("UPDATE messages SET producer = 'somebody' WHERE position = 7")
    checked = run_maker("--check", "--output", changed)
    assert checked.returncode == 1
    assert "make example-db" in checked.stderr


def test_a_new_file_is_the_same_to_the_byte(tmp_path: Path) -> None:
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    for path in (one, other):
        made = run_maker("--output", path)
        assert made.returncode == 0, made.stderr
    assert one.read_bytes() == other.read_bytes()


def test_it_is_one_small_file() -> None:
    assert EXAMPLE.stat().st_size < 1_500_000
    assert EXAMPLE.read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log beside it


def test_a_server_shows_it(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "pubsub.db")
    with RunningServer(tmp_path) as server:
        topics = {topic["topic"]: topic for topic in server.get("/topics")}
        assert {"host:cpu", "orders", "alerts", "chat:lobby", "sensors:humidity"} <= topics.keys()
        assert sum(topic["messages"] for topic in topics.values()) > 1_000
        newest = server.get("/messages", limit=1)[0]
        oldest = server.get("/messages", topic="host:cpu", limit=1_000)[-1]
        assert newest["timestamp"] - oldest["timestamp"] < 86_400
        assert server.get("/messages", q="teapot")
        assert {row["consumer"] for row in server.get("/consumptions", limit=1_000)} >= {
            "dashboard",
            "billing",
        }
        assert server.publish("orders", {"order": "new"}).json() == {"status": "ok"}
        newest = server.get("/messages", limit=1)[0]
        assert newest["sequence"] == topics["orders"]["sequence"] + 1
