"""What the log needs in the background: trimming by retention, and the search index."""

from __future__ import annotations

import logging
from collections.abc import Callable

from . import logs
from .clock import LogClock
from .errors import Unavailable
from .journal import Journal
from .runtime import Runtime
from .storage.database import Retention, Writer

PAUSE_SECONDS = 0.25
FAILURE_PAUSE_SECONDS = 5.0
STEP = 200  # messages: about what a commit of a busy moment takes


class Upkeep:
    """A task that does the log's upkeep in steps as short as a commit. Owned by the node."""

    def __init__(
        self, journal: Journal, runtime: Runtime, clock: LogClock, retention: Retention
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._retention = retention
        self._is_stopped = runtime.event()
        self._task = runtime.spawn(self._run)

    def stop(self, timeout: float) -> None:
        self._is_stopped.set()
        if not self._task.wait(timeout):
            self._task.kill()

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            pause = PAUSE_SECONDS
            try:
                self._repeat(self._trim)
                self._repeat(_index)
            except Unavailable as error:
                if not self._is_stopped.is_set():
                    logs.event(logging.WARNING, "upkeep_failed", reason=error.message)
                pause = FAILURE_PAUSE_SECONDS
            self._is_stopped.wait(pause)

    def _repeat(self, step: Callable[[Writer], int]) -> None:
        """Do steps until one finds nothing more to do."""
        while not self._is_stopped.is_set() and self._journal.upkeep(step) > 0:
            pass

    def _trim(self, writer: Writer) -> int:
        return writer.trim(self._retention, self._clock.now(), STEP)


def _index(writer: Writer) -> int:
    return writer.index(STEP)
