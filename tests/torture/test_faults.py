"""The disk fails below SQLite: what is refused is not stored, what is answered stays."""

from __future__ import annotations

import errno
import random
import resource
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import server as server_module
from python_pubsub_server.storage.sqlite import CHECKPOINT_PAGES
from server import RunningServer, serve_command

from .amount import amount
from .clients import Link
from .disk import DATABASE, LOG, SYNC, WRITE, Disk, build
from .tally import Tally

PUBLISHERS = 4
ROUNDS = amount(short=1, full=10)
EACH = amount(short=12, full=40)  # publishes of each publisher while the disk fails

FAULTS = {
    "disk full": (WRITE, LOG, errno.ENOSPC, False),
    "disk full in the middle of a write": (WRITE, LOG, errno.ENOSPC, True),
    "write error": (WRITE, LOG, errno.EIO, False),
    "write error in the middle of a write": (WRITE, LOG, errno.EIO, True),
    "over quota": (WRITE, LOG, errno.EDQUOT, False),
    "sync error": (SYNC, LOG, errno.EIO, False),
}
FAULTS_OF_CHECKPOINTS = {
    "write error": (WRITE, DATABASE, errno.EIO),
    "disk full": (WRITE, DATABASE, errno.ENOSPC),
    "sync error": (SYNC, DATABASE, errno.EIO),
    "sync error of the log": (SYNC, LOG, errno.EIO),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: apt install gcc")
    return build(compiler, tmp_path_factory.mktemp("faults"))


class Story:
    """A server on a disk that fails, and what publishers were told."""

    def __init__(self, server: RunningServer, dice: random.Random, tally: Tally) -> None:
        self.server = server
        self.dice = dice
        self.tally = tally
        self.answered: dict[str, int] = {}
        self.refused: set[str] = set()
        self.count = 0

    def publish(self, name: str, size: int = 200) -> bool:
        """Publish a message; whether it was answered `ok`."""
        response = self.server.http.post(
            self.server.url + "/publish",
            json={"topic": "t", "message_id": name, "message": "x" * size, "producer": "p"},
            headers={"Prefer": "return=representation"},
            timeout=60,
        )
        if response.status_code == 200:
            body = response.json()
            assert self.answered.setdefault(name, body["sequence"]) == body["sequence"]
            self.refused.discard(name)
            self.tally.add(publishes_answered_around_faults=1)
            return True
        assert response.status_code == 503, response.text
        assert response.json()["code"] == "unavailable"
        self.refused.add(name)
        self.tally.add(publishes_refused=1)
        return False

    def publish_many(self, count: int, size: int = 200) -> list[bool]:
        """Publish messages from several programs at once."""
        names = [f"m-{self.count + n}" for n in range(count)]
        self.count += count
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            return list(pool.map(lambda name: self.publish(name, size), names))

    def others_go_on(self) -> None:
        """Readers, pages and connections do not need to write."""
        server = self.server
        assert server.get("/health/live") is not None
        assert server.get("/topics")[0]["sequence"] == server.get("/messages")[0]["sequence"]
        with Link(server.url) as link:
            last = server.get("/topics/t/messages", limit=1)["sequence"]
            joined = link.subscribe_anonymously("t", after=last - 1)
            assert joined["topics"][0]["replayed"] == 1
            assert link.next()[1]["sequence"] == last

    def log(self) -> dict[str, int]:
        """What is stored: message ids with their sequences, from 1, each id once."""
        messages: list[dict[str, Any]] = []
        while page := self.server.get("/topics/t/messages", after=len(messages), limit=1_000)[
            "messages"
        ]:
            messages += page
        assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1))
        stored = {message["message_id"]: message["sequence"] for message in messages}
        assert len(stored) == len(messages)
        return stored

    def check(self) -> None:
        """All that was answered is there, nothing that was refused is."""
        assert self.log() == self.answered

    def retry_all(self) -> None:
        """As publishers do: again with the same id, until it is answered."""
        for name in sorted(self.refused):
            assert self.publish(name)
        self.check()


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> Disk:
    return Disk(library, tmp_path / "pubsub.db")


def stories(
    disk: Disk,
    durability: str,
    dice: random.Random,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    directory = Path(disk.environment["TORTURE_PREFIX"]).parent
    server = RunningServer(directory, durability=durability, log_level="info")
    with monkeypatch.context() as context:
        for name, value in disk.environment.items():
            context.setenv(name, value)
        server.start()
    try:
        yield Story(server, dice, tally)
    finally:
        server.__exit__()


@pytest.fixture
def story(
    disk: Disk,
    durability: str,
    dice: random.Random,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    yield from stories(disk, durability, dice, tally, monkeypatch)


def impatient(**settings: object) -> list[str]:
    return [
        sys.executable,
        str(Path(__file__).with_name("impatient.py")),
        *serve_command(**settings)[3:],
    ]


@pytest.fixture
def impatient_story(
    disk: Disk,
    any_durability: str,
    dice: random.Random,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    monkeypatch.setattr(server_module, "serve_command", impatient)
    yield from stories(disk, any_durability, dice, tally, monkeypatch)


@pytest.fixture
def slow_story(
    disk: Disk,
    any_durability: str,
    dice: random.Random,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    yield from stories(disk, any_durability, dice, tally, monkeypatch)


def restart(story: Story) -> None:
    """Kill the server and start it again, on a disk that works."""
    story.server.kill()
    story.server.start()


def test_a_commit_that_fails_stores_nothing_and_the_next_one_does(
    story: Story, disk: Disk, durability: str
) -> None:
    assert all(story.publish_many(5))
    for _ in range(ROUNDS):
        for operation, files, error, is_torn in FAULTS.values():
            if durability == "normal" and operation == SYNC:
                continue  # it only syncs at a checkpoint
            disk.fail(operation, files, error, skip=story.dice.randrange(6), is_torn=is_torn)
            results = story.publish_many(EACH)
            story.others_go_on()
            failed = disk.recover()
            assert failed > 0
            story.tally.add(faults_of_the_disk=1, operations_that_failed=failed)
            assert not results[-1], "the disk failed, and a publish was answered"
            assert story.publish(f"after-{story.count}")
            story.check()
            story.retry_all()
    restart(story)
    story.check()


def test_a_commit_whose_record_may_have_reached_the_disk_is_not_doubled(
    story: Story, disk: Disk, durability: str
) -> None:
    """Its sync failed: it is refused, and a crash right then may still bring it back."""
    assert story.publish("first")  # with it the log's file gets its header
    before = disk.syncs
    assert all(story.publish_many(3))
    # In normal no commit waits for the disk: only a checkpoint does.
    assert (disk.syncs > before) is (durability == "full")
    disk.fail(SYNC, LOG, errno.EIO)
    assert story.publish("doubtful") is (durability == "normal")
    restart(story)
    stored = story.log()
    assert set(stored) | {"doubtful"} == set(story.answered) | {"doubtful"}
    assert story.publish("doubtful")
    assert story.publish("after")
    story.check()


def test_a_checkpoint_that_fails_loses_nothing(slow_story: Story, disk: Disk) -> None:
    """Copying the log into the database fails; the commits themselves are whole in the log."""
    story = slow_story
    for operation, files, error in FAULTS_OF_CHECKPOINTS.values():
        disk.fail(operation, files, error)
        story.publish_many(CHECKPOINT_PAGES // 40, size=200_000)
        failed = disk.recover()
        assert failed > 0
        story.tally.add(faults_of_the_disk=1, operations_that_failed=failed)
        story.check()
        story.retry_all()
        assert story.publish(f"after-{story.count}")
    restart(story)
    story.check()


def test_a_file_that_may_not_grow_refuses_and_recovers(slow_story: Story) -> None:
    story = slow_story
    assert all(story.publish_many(5))
    process = story.server.process
    assert process is not None
    unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    size = max(each.stat().st_size for each in story.server.directory.glob("pubsub.db*"))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + 20_000, unlimited[1]))
    assert not all(story.publish_many(EACH, size=10_000))
    story.others_go_on()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert story.publish("after")
    story.check()
    story.retry_all()
    restart(story)
    story.check()


def test_a_locked_database_refuses_and_recovers(impatient_story: Story) -> None:
    """Another program holds it for longer than the server waits, again and again."""
    story = impatient_story
    assert story.publish("before")
    for number in range(ROUNDS):
        with closing(
            sqlite3.connect(story.server.directory / "pubsub.db", isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(1) as pool:
                result = pool.submit(story.publish, f"locked out {number}")
                story.others_go_on()
                assert result.result(60) is False
            other.execute("ROLLBACK")
        story.tally.add(locks_by_another_program=1)
        assert story.publish(f"after {number}")
        story.check()
    story.retry_all()
