from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loops import BACKENDS, run_on_loop
from python_pubsub_server.errors import Unavailable
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage import readers as readers_module
from python_pubsub_server.storage.database import Reader, open_database
from python_pubsub_server.storage.readers import Readers

PATIENCE = 10.0

Tell = Callable[[Callable[[Runtime, Readers], Any]], Any]


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    """Runs a story with one reader of a file, on a loop of its own."""

    def run(tale: Callable[[Runtime, Readers], Any]) -> Any:
        def live(runtime: Runtime) -> Any:
            database = open_database(f"sqlite:///{tmp_path}/log.db", durability="normal")
            return tale(runtime, Readers(database, runtime, threads=1))

        return run_on_loop(request.param, live)

    return run


class LongRead:
    """A read that lasts until it may end, with a look at its connection then."""

    def __init__(self, runtime: Runtime, readers: Readers) -> None:
        self.positions: list[int] = []
        self._may_end = threading.Event()
        self._began = runtime.event()
        self._call = runtime.call_from_thread
        self._task = runtime.spawn(readers.read, self._read)
        assert self._began.wait(PATIENCE)

    def end(self) -> None:
        self._may_end.set()
        assert self._task.wait(PATIENCE)

    def _read(self, reader: Reader) -> None:
        self._call(self._began.set)
        assert self._may_end.wait(PATIENCE)
        self.positions.append(reader.last_position())


def test_who_reads_and_who_computes_gets_what_was_asked_for(tell: Tell) -> None:
    def tale(runtime: Runtime, readers: Readers) -> None:
        assert readers.read(lambda reader: reader.last_position()) == 0
        assert readers.compute(threading.current_thread).name == "reader-0"
        with pytest.raises(ZeroDivisionError):
            readers.compute(lambda: 1 // 0)
        readers.close(PATIENCE)

    tell(tale)


def test_nobody_waits_for_ever_for_a_database_that_hangs(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tale(runtime: Runtime, readers: Readers) -> None:
        long = LongRead(runtime, readers)
        monkeypatch.setattr(readers_module, "READ_TIMEOUT", 0.01)
        with pytest.raises(Unavailable, match="in time"):
            readers.read(lambda reader: reader.last_position())
        with pytest.raises(Unavailable, match="in time"):
            readers.compute(lambda: 1)
        long.end()
        readers.close(PATIENCE)

    tell(tale)


def test_no_more_than_a_number_of_reads_wait(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    def tale(runtime: Runtime, readers: Readers) -> None:
        monkeypatch.setattr(readers_module, "MAX_WAITING", 2)
        long = LongRead(runtime, readers)
        found: list[int] = []
        tasks = [
            runtime.spawn(lambda: found.append(readers.read(lambda r: r.last_position())))
            for _ in range(2)
        ]
        runtime.sleep(0)
        with pytest.raises(Unavailable, match="slow down"):
            readers.read(lambda reader: reader.last_position())
        with pytest.raises(Unavailable, match="slow down"):
            readers.compute(lambda: 1)
        long.end()
        assert all(task.wait(PATIENCE) for task in tasks)
        assert found == [0, 0]
        assert readers.compute(lambda: 1) == 1
        readers.close(PATIENCE)

    tell(tale)


def test_closing_takes_no_connection_from_a_read_that_goes_on(tell: Tell) -> None:
    def tale(runtime: Runtime, readers: Readers) -> None:
        long = LongRead(runtime, readers)
        readers.close(0.01)
        long.end()
        assert long.positions == [0]

    tell(tale)
