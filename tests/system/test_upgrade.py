"""From the previous release to this one, with its database, and beside it while it still runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engines import sqlite_url
from python_pubsub_server.storage.migrations import migrate, migrations_folder, read_migrations
from server import RunningServer
from system.clients import Client
from system.cluster import Follower

ROWS = Path(__file__).with_name("fixtures") / "release_003.sql"
EPOCH = "adadd55e-99be-44d1-be16-95a942244245"
RELEASED = {
    "001_log": "691ff1b83778373cd242d4a8ca9284373750efdc5f082dcf39e5994f50d49286",
    "002_search": "a636297d1c84b15d049382b3c7abe636759b152c6dab393a439b76f6ce6a37d5",
    "003_deliveries": "f810b5acf29c8cd7e534c05f7da7e4ea80d7e7c0a9eadb40e500f4ad007c70e4",
}

# How that release stores a message and a consumption.
OLD_MESSAGE = """INSERT INTO messages
    (topic_id, sequence, message_id, message, producer, timestamp, fingerprint)
    VALUES (1, ?, ?, ?, 'shop', ?, ?)"""
OLD_TOPIC = """INSERT INTO topics (topic_id, topic, sequence, last_published_at)
    VALUES (1, 'orders', ?, ?) ON CONFLICT (topic_id) DO UPDATE SET
    sequence = excluded.sequence, last_published_at = excluded.last_published_at"""
OLD_PUBLISHER = """INSERT INTO publishers (topic_id, producer, messages, last_at)
    VALUES (1, 'shop', 1, ?) ON CONFLICT (topic_id, producer) DO UPDATE SET
    messages = messages + excluded.messages, last_at = max(last_at, excluded.last_at)"""
OLD_CONSUMPTION = """INSERT INTO consumptions (topic_id, sequence, consumer_id, timestamp)
    VALUES (1, ?, 1, ?)"""

pytestmark = pytest.mark.sqlite(reason="the files that users of the previous release have")


class OldServer:
    """What the previous release does to a database."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=30)

    def publish(self, message_id: str) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        (last, at) = self.connection.execute(
            "SELECT sequence, last_published_at FROM topics WHERE topic = 'orders'"
        ).fetchone()
        row = (last + 1, message_id, '"old"', at, 1)
        self.connection.execute(OLD_MESSAGE, row)
        self.connection.execute(OLD_TOPIC, (last + 1, at))
        self.connection.execute(OLD_PUBLISHER, (at,))
        self.connection.execute("COMMIT")

    def consume(self, sequence: int) -> None:
        self.connection.execute(OLD_CONSUMPTION, (sequence, 1.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The previous release's database."""
    path = tmp_path / "pubsub.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, read_migrations(migrations_folder())[: len(RELEASED)])
        connection.executescript(ROWS.read_text(encoding="utf-8"))
    return path


def test_what_was_released_is_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert dict(connection.execute("SELECT name, checksum FROM migrations")) == RELEASED


def test_the_log_of_the_previous_release_goes_on(path: Path) -> None:
    with RunningServer(path.parent, database_url=sqlite_url(path.parent)) as server:
        page = server.get("/topics/orders/messages")
        assert (page["epoch"], page["first"], page["sequence"]) == (EPOCH, 1, 5)
        assert page["messages"][0]["message"] == {"total": 1, "text": "é 😀"}
        ledger = server.get("/topics/orders/messages/1/deliveries")["consumers"]
        assert [one["consumer"] for one in ledger] == ["billing"]
        assert ledger[0]["consumed_at"] is not None
        server.until(lambda: server.get("/messages", q="total") or None)
        with Client(server.url) as client:
            answer = client.subscribe("orders", consumer="billing", after="consumed")
            assert answer["topics"][0]["recovered"] is True
            assert [one["message_id"] for one in client.messages(1)] == ["o-5"]
        assert server.publish("orders", 6, message_id="o-6").json() == {"status": "ok"}
        assert server.get("/topics/orders/messages")["sequence"] == 6
        assert server.stop() == 0


def test_a_server_of_the_previous_release_may_still_run_beside(path: Path) -> None:
    settings = {"database_url": sqlite_url(path.parent)}
    old = OldServer(path)
    with closing(old.connection), RunningServer(path.parent, **settings) as server:
        with Follower(server, "orders") as follower:
            for number in range(6, 12, 2):
                old.publish(f"old-{number}")
                assert server.publish("orders", "new", message_id=f"new-{number}").ok
            follower.until("orders", 11)
            assert follower.heard["orders"] == list(range(1, 12))
            assert follower.ids["orders"][5:7] == ["old-6", "new-6"]
        old.consume(5)
        ledger = server.get("/topics/orders/messages/5/deliveries")["consumers"]
        assert [one["consumer"] for one in ledger if one["consumed_at"]] == ["billing"]
        (row,) = [one for one in server.get("/topics") if one["topic"] == "orders"]
        assert (row["sequence"], row["messages"]) == (11, 11)
