"""What is SQLite's own: crashes, full disks, locks, and that nothing scans the log."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from python_pubsub_server.errors import DatabaseError
from python_pubsub_server.model import Claim
from python_pubsub_server.storage import sql_reader, sqlite_commit
from python_pubsub_server.storage.database import ReadFailed, Retention, WriteFailed
from python_pubsub_server.storage.sqlite import SQLiteDatabase, SQLiteWriter
from python_pubsub_server.storage.sqlite_reader import SQLiteReader
from stories import Storage, draft

SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pubsub.db"


@pytest.fixture
def storage(path: Path) -> Iterator[Storage]:
    story = Storage(SQLiteDatabase.open(path, busy_timeout_seconds=0.05))
    yield story
    story.close()


COMMIT_FOR_EVER = """
import sys
from pathlib import Path
from msgspec import Raw
from python_pubsub_server.model import Draft
from python_pubsub_server.storage.database import Batch
from python_pubsub_server.storage.sqlite import SQLiteDatabase

writer = SQLiteDatabase.open(Path(sys.argv[1]), durability=sys.argv[2]).writer()
n = 0
while True:
    drafts = [Draft(f"t{i % 3}", f"{n}-{i}", Raw(b"1"), "p", n * 10 + i) for i in range(7)]
    committed = writer.commit(Batch(1.0, (), drafts, [1.0] * 7))
    for one in committed.published:
        print(one.message.topic, one.message.sequence, one.message.message_id)
    print("answered", flush=True)
    n += 1
"""


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_what_was_answered_survives_a_kill(path: Path, durability: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", COMMIT_FOR_EVER, str(path), durability],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        text=True,
    )
    assert server.stdout is not None
    lines = [server.stdout.readline() for _ in range(2000)]
    server.send_signal(signal.SIGKILL)
    lines += server.stdout.readlines()
    server.stdout.close()
    server.wait(10)
    whole = [line.split() for line in lines if line.count(" ") == 2 and line.endswith("\n")]
    assert len(whole) > 1000

    storage = Storage(SQLiteDatabase.open(path))
    for topic in ("t0", "t1", "t2"):
        log = {str(m.sequence): m.message_id for m in storage.log(topic, 0, 1_000_000)}
        assert list(log) == [str(n) for n in range(1, len(log) + 1)]
        answered = {sequence: name for where, sequence, name in whole if where == topic}
        assert answered.items() <= log.items()
    storage.close()


def test_a_full_disk_stores_nothing_and_recovers(path: Path) -> None:
    storage = Storage(SQLiteDatabase.open(path))
    storage.publish(draft())
    connection = storage.writer._connection  # type: ignore[attr-defined]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(WriteFailed, match="full"):
        storage.publish(draft(message_id="small"), draft(message_id="large", message="x" * 50_000))
    assert storage.sequences() == [1]
    connection.execute("PRAGMA max_page_count = 1000000")
    (later,) = storage.publish(draft(message_id="small"))
    assert (later.message.sequence, later.duplicate) == (2, False)
    storage.close()


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from msgspec import Raw
from python_pubsub_server.model import Draft
from python_pubsub_server.storage.database import Batch, WriteFailed
from python_pubsub_server.storage.sqlite import SQLiteDatabase

database = SQLiteDatabase.open(Path(sys.argv[1]))
writer, reader = database.writer(), database.reader()
publish = lambda n, size: writer.commit(
    Batch(1.0, (), [Draft("t", str(n), Raw(b'"' + b"x" * size + b'"'), "p", n)], [1.0]))
publish(1, 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    publish(2, 500_000)
except WriteFailed as error:
    print("failed")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(publish(3, 500_000).published[0].message.sequence)
print([m.message_id for m in reader.log("t", 0, 9, 2**40).messages])
"""


def test_a_file_that_cannot_grow_stores_nothing_and_recovers(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.stdout.splitlines(), run.stderr) == (["failed", "2", "['1', '3']"], "")


def test_a_locked_database_fails_and_recovers(storage: Storage, path: Path) -> None:
    storage.publish(draft())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WriteFailed, match="locked"):
        storage.publish(draft(message_id="m2"))
    with pytest.raises(WriteFailed, match="locked"):
        storage.writer.index(10)
    assert storage.sequences() == [1]
    other.execute("ROLLBACK")
    other.close()
    assert storage.publish(draft(message_id="m2"))[0].message.sequence == 2


def test_a_batch_that_cannot_be_bound_leaves_no_transaction_open(storage: Storage) -> None:
    with pytest.raises(UnicodeEncodeError):
        storage.publish(draft(message_id="good"), draft(message_id="\ud800"))
    assert storage.publish(draft())[0].message.sequence == 1


def test_a_broken_connection_is_opened_again(path: Path) -> None:
    database = SQLiteDatabase.open(path)
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        opened.append(database._open_to_write())
        return opened[-1]

    writer = SQLiteWriter(connect, 120.0)
    assert writer.index(1) == 0
    moved = path.rename(path.with_name("elsewhere.db"))
    writer.close()
    with pytest.raises(WriteFailed, match="unable to open"):
        writer.index(1)
    assert not path.exists()
    moved.rename(path)
    assert writer.index(1) == 0
    assert len(opened) == 2
    writer.close()


class Watched:
    """A connection that notes how durable each transaction is that commits through it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.committed: list[int] = []  # PRAGMA synchronous: 1 normal, 2 full
        self.broken = ""  # a statement that fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == self.broken:
            raise sqlite3.OperationalError("out of memory")
        if statement == "COMMIT":
            (level,) = self._connection.execute("PRAGMA synchronous").fetchone()
            self.committed.append(level)
        return self._connection.execute(statement, *values)


@pytest.fixture(params=["full", "normal"])
def watched(path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Storage, Watched]]:
    """A log, and the connection that it is written through."""
    database = SQLiteDatabase.open(path, durability=request.param)
    connection = Watched(database._open_to_write())
    story = Storage(database)
    story.writer = SQLiteWriter(lambda: cast(sqlite3.Connection, connection), 120.0)
    yield story, connection
    story.close()


def test_only_the_index_is_not_flushed(watched: tuple[Storage, Watched]) -> None:
    storage, connection = watched
    (promised,) = connection.execute("PRAGMA synchronous").fetchone()
    storage.publish(draft(message_id="1"))
    assert storage.writer.index(10) == 1
    assert storage.writer.index(10) == 0
    storage.publish(draft(message_id="2"))
    assert storage.writer.trim(Retention(1, None), 1000.0, 10) == 1
    assert connection.committed == [promised, 1, 1, promised, promised]


def test_a_commit_that_cannot_be_as_durable_as_promised_is_refused(
    watched: tuple[Storage, Watched],
) -> None:
    storage, connection = watched
    (promised,) = connection.execute("PRAGMA synchronous").fetchone()
    storage.writer.index(10)
    connection.broken = "PRAGMA synchronous = 2"
    if promised == 2:
        for _ in range(2):
            with pytest.raises(WriteFailed, match="out of memory"):
                storage.publish(draft(message_id="1"))
    connection.broken = ""
    assert storage.publish(draft(message_id="1"))[0].message.sequence == 1
    assert connection.committed == [1, promised]


def test_a_database_held_by_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseError, match="another program holds it"):
        SQLiteDatabase.open(path, busy_timeout_seconds=0.05)
    other.close()


def test_readers_cannot_write_and_say_why_they_cannot_read(storage: Storage, path: Path) -> None:
    reader = storage.reader
    assert isinstance(reader, SQLiteReader)
    with pytest.raises(ReadFailed, match="readonly"):
        reader._rows("DELETE FROM messages")
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(ReadFailed, match="unable to open"):
        storage.database.reader()


def test_a_page_of_a_topic_that_cannot_be_read_says_why(storage: Storage) -> None:
    reader = storage.reader
    assert isinstance(reader, SQLiteReader)
    storage.publish(draft("t"), draft("t", "m2"))

    def authorize(action: int, table: str | None, *_: object) -> int:
        is_hidden = action == sqlite3.SQLITE_READ and table == "messages"
        return sqlite3.SQLITE_DENY if is_hidden else sqlite3.SQLITE_OK

    reader._connection.set_authorizer(authorize)
    with pytest.raises(ReadFailed, match="prohibited"):
        reader.messages(20, topic="t", before=2)


def test_a_read_touches_no_more_in_a_long_log(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of each read, in SQLite's own steps, with 20 times the messages."""
    monkeypatch.setattr(sqlite_commit, "LATE_CONSUMPTIONS", 1)  # so that both have as many late
    short = _work_of_reads(storage, 0, 500)
    long = _work_of_reads(storage, 500, 10_000)
    for name, steps in long.items():
        assert steps <= 2 * short[name] + 20, name


def _work_of_reads(storage: Storage, start: int, end: int) -> dict[str, int]:
    reader = storage.reader
    assert isinstance(reader, SQLiteReader)
    storage.publish(
        *(draft(f"t{n % 2}", f"id{n}", f"word{n}", f"p{n % 3}") for n in range(start, end))
    )
    storage.claim(*(Claim(f"c{n % 3}", f"t{n % 2}", f"id{n}") for n in range(start, end)))
    reads = {
        "messages": lambda: reader.messages(20),
        "older": lambda: reader.messages(20, before=250),
        "topic": lambda: reader.messages(20, topic="t1"),
        "older on topic": lambda: reader.messages(20, topic="t1", before=250),
        "producer": lambda: reader.messages(20, producer="p1"),
        "both": lambda: reader.messages(20, topic="t1", producer="p1", before=250),
        "consumptions": lambda: reader.consumptions(20),
        "consumer": lambda: reader.consumptions(20, consumer="c1"),
        "consumed on topic": lambda: reader.consumptions(20, topic="t1"),
        "consumed both": lambda: reader.consumptions(20, topic="t1", consumer="c1", before=250),
        "log": lambda: storage.log("t1", 100, 20),
        "topics": reader.topics,
        "edges": lambda: [*reader.publish_edges(20, 0), *reader.consume_edges(20, 0)],
        "common word": lambda: reader.messages(20, text="word"),
        "newest": reader.last_timestamp,
    }
    work = {}
    for name, read in reads.items():
        steps = [0]

        def step(counter: list[int] = steps) -> None:
            counter[0] += 1

        reader._connection.set_progress_handler(step, 10)
        assert read()
        reader._connection.set_progress_handler(None, 0)
        work[name] = steps[0]
    return work


@pytest.mark.parametrize("late", [1, 4, 7, 1000])
def test_consumptions_are_shown_whether_their_consumers_lists_have_them_or_not(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    monkeypatch.setattr(sqlite_commit, "LATE_CONSUMPTIONS", late)
    storage.publish(*(draft(f"t{n % 2}", f"id{n}") for n in range(20)))
    for n in range(20):
        storage.claim(Claim(f"c{n % 3}", f"t{n % 2}", f"id{n}"))

    def shown(limit: int, **wanted: Any) -> list[str]:
        return [each.message_id for _, each in storage.reader.consumptions(limit, **wanted)]

    of_c1 = [f"id{n}" for n in range(19, -1, -1) if n % 3 == 1]
    assert shown(20, consumer="c1") == of_c1
    assert shown(4, consumer="c1") == of_c1[:4]
    assert shown(20, consumer="c1", topic="t1") == ["id19", "id13", "id7", "id1"]
    assert shown(2, consumer="c1", topic="t1") == ["id19", "id13"]
    edges = {(edge.name, edge.topic): edge.lag for edge in storage.reader.consume_edges(20, 0)}
    assert edges == {
        **{("c0", "t0"): 0, ("c0", "t1"): 2, ("c1", "t0"): 1},
        **{("c1", "t1"): 0, ("c2", "t0"): 2, ("c2", "t1"): 1},
    }


def test_deleted_consumptions_leave_their_consumers_lists(
    storage: Storage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_commit, "LATE_CONSUMPTIONS", 4)
    storage.publish(*(draft("t", f"id{n}") for n in range(10)))
    for n in range(10):
        storage.claim(Claim("c", "t", f"id{n}"))
    assert storage.writer.trim(Retention(4, None), 2000.0, 100) == 6
    with closing(sqlite3.connect(path)) as connection:
        listed = connection.execute("SELECT position FROM consumed_by").fetchall()
        assert listed == [(7,), (8,)]  # the last two are late
    found = storage.reader.consumptions(20, consumer="c")
    assert [each.message_id for _, each in found] == ["id9", "id8", "id7", "id6"]


def test_the_index_finds_what_is_behind_the_scan(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_reader, "_SCAN_AT_LEAST", 5)
    monkeypatch.setattr(sql_reader, "_SCAN_AT_MOST", 10)
    storage.publish(*(draft(f"t{n % 2}", f"id{n}", f"word{n}") for n in range(40)))
    assert storage.found("word3") == [f"id{n}" for n in range(39, 29, -1)]
    storage.index_all()
    assert storage.found("word3") == [f"id{n}" for n in range(39, 29, -1)] + ["id3"]
    assert storage.found("word3", topic="t0") == [f"id{n}" for n in range(38, 29, -2)]
    assert storage.found("word", producer="ann", before=10) == [f"id{n}" for n in range(8, -1, -1)]
    assert storage.found("word", producer="bob") == []
