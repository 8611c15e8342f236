from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loops import PATIENCE, run_on_loop
from python_pubsub_server.broker import Announcer, Broker
from python_pubsub_server.bus.bus import Verdict
from python_pubsub_server.clock import LogClock
from python_pubsub_server.feed import Feed
from python_pubsub_server.hub import Hub
from python_pubsub_server.ingress import Ingress
from python_pubsub_server.journal import Journal
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import open_database
from python_pubsub_server.storage.readers import Readers

GOOD = {b"topic": b"news", b"message_id": b"m1", b"producer": b"ann", b"message": b'{"a": 1}'}


def taken(path: Path, fields: dict[bytes, bytes], *, is_closed: bool = False) -> Any:
    """The verdict, its reason, and what the log has of `news` afterwards."""

    def live(runtime: Runtime) -> Any:
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        hub, clock, readers = Hub(), LogClock(), Readers(database, runtime, threads=1)
        feed = Feed(hub, readers, runtime, 0)
        journal = Journal(database.writer(), runtime, clock, Announcer(feed, Rates()))
        if is_closed:
            journal.close(PATIENCE)
        verdicts: list[tuple[Verdict, str]] = []
        is_judged = runtime.event()

        def judge(verdict: Verdict, reason: str) -> None:
            verdicts.append((verdict, reason))
            is_judged.set()

        Ingress(Broker(journal, hub, readers, clock), 1_000).take(fields, judge)
        assert is_judged.wait(PATIENCE)
        log = readers.read(lambda reader: reader.log("news", 0, 10, 2**20)).messages
        if not is_closed:
            journal.close(PATIENCE)
        feed.close(PATIENCE)
        readers.close(PATIENCE)
        ((verdict, reason),) = verdicts
        return verdict, reason, [json.loads(bytes(m.message)) for m in log]

    return run_on_loop("eventlet", live)


def test_an_entry_is_published(tmp_path: Path) -> None:
    assert taken(tmp_path, GOOD) == (Verdict.PUBLISHED, "", [{"a": 1}])
    assert taken(tmp_path, GOOD) == (Verdict.PUBLISHED, "", [{"a": 1}])  # the same again


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({b"topic": None}, "Missing required field: topic"),
        ({b"message": None}, "Missing required field: message"),
        ({b"message": b"{"}, "`message` JSON"),
        ({b"message": b'1, "topic": "other"'}, "`message` JSON"),
        ({b"message": b""}, "`message` JSON"),
        ({b"topic": b"a*"}, "topic"),
        ({b"producer": b"\xff"}, "UTF-8"),
        ({b"message": b'"' + b"x" * 2_000 + b'"'}, "takes 1000 at most"),
    ],
)
def test_what_can_never_be_published_is_refused(
    tmp_path: Path, changes: dict[bytes, bytes | None], reason: str
) -> None:
    fields = {key: value for key, value in (GOOD | changes).items() if value is not None}
    verdict, told, log = taken(tmp_path, fields)
    assert (verdict, log) == (Verdict.REFUSED, [])
    assert reason in told


def test_what_cannot_be_stored_now_is_for_later(tmp_path: Path) -> None:
    verdict, _, log = taken(tmp_path, GOOD, is_closed=True)
    assert (verdict, log) == (Verdict.LATER, [])
