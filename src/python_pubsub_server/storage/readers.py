"""Reading off the event loop: a few native threads, each with a reader of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, local
from typing import TypeVar

from ..errors import Unavailable
from ..runtime import NativeThreads, Runtime
from .database import Database, Reader, ReadFailed

T = TypeVar("T")

READ_TIMEOUT = 30.0
MAX_WAITING = 10_000  # whoever gave up waiting is among them, until a thread gets to it


class Readers:
    """Runs queries; only the greenlet that asks waits. Bounded: past 10,000 it refuses at once."""

    def __init__(self, database: Database, runtime: Runtime, threads: int = 2) -> None:
        self._database = database
        self._threads: NativeThreads = runtime.native_threads(threads, "reader")
        self._own = local()
        self._opened: list[Reader] = []
        self._opening = Lock()

    def read(self, query: Callable[[Reader], T]) -> T:
        """What a query returns. Raises Unavailable when the database cannot be read in time."""
        try:
            return self._run(lambda: self._query(query))
        except ReadFailed as error:
            raise Unavailable(f"The database cannot be read: {error}") from None

    def compute(self, function: Callable[[], T]) -> T:
        """What a function without a reader returns or raises, if it would hold up the loop.

        Raises Unavailable when the threads are busy with reads for too long.
        """
        return self._run(function)

    def close(self, timeout: float) -> None:
        """Close the readers, unless one is still in use: then they end with the process."""
        if self._threads.close(timeout):
            for reader in self._opened:
                reader.close()

    def _run(self, function: Callable[[], T]) -> T:
        if self._threads.waiting >= MAX_WAITING:
            raise Unavailable("Too many requests wait for the database; slow down and try again")
        try:
            return self._threads.run(function, timeout=READ_TIMEOUT)
        except TimeoutError:
            raise Unavailable("The database did not answer in time; try again") from None

    def _query(self, query: Callable[[Reader], T]) -> T:
        reader: Reader | None = getattr(self._own, "reader", None)
        if reader is None:
            reader = self._own.reader = self._database.reader()
            with self._opening:
                self._opened.append(reader)
        return query(reader)
