"""What the log needs in the background: retention, the search index, and checkpoints."""

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
IDLE_SECONDS = 60.0  # how late a message may be trimmed by its age while nothing is published
FLOWING_COMMITS = 20  # in a round
STEP = 200  # messages: about what a commit of a busy moment takes
MOST_STEPS = 50  # of the index; then what flows may have changed
CHECKPOINT_COMMITS = 400  # about 16 MB of a database's log
FLOWING_STEP = 25  # messages: what the index takes in half a millisecond
FLOWING_STEPS = 10
FLOWING_PAUSE_SECONDS = 0.025  # in which who had to wait for a step is served


class Upkeep:
    """A task that does the log's upkeep in steps as short as a commit. Owned by the node.

    It works after commits and rests with them. Trimming keeps up with any load. A publish may have
    to wait for a step of the index, so while messages flow these are few, very short and apart
    (500 messages a second), and the index catches up when they pause. `on_round` is called once a
    minute at least.
    """

    def __init__(
        self,
        journal: Journal,
        runtime: Runtime,
        clock: LogClock,
        retention: Retention,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._runtime = runtime
        self._clock = clock
        self._retention = retention
        self._on_round = on_round
        self._is_stopped = False
        self._commits = 0  # since the last round
        self._commits_to_copy = 0
        self._woken = runtime.event()
        self._woken.set()
        self._task = runtime.spawn(self._run)

    def wake(self) -> None:
        """Something was committed."""
        self._commits += 1
        if not self._woken.is_set():
            self._woken.set()

    def stop(self, timeout: float) -> None:
        self._is_stopped = True
        self._woken.set()
        if not self._task.wait(timeout):
            self._task.kill()

    def _run(self) -> None:
        while not self._is_stopped:
            self._woken.wait(IDLE_SECONDS)
            self._woken.clear()
            try:
                self._on_round()
                is_done = self._do_round()
            except Unavailable as error:
                if not self._is_stopped:
                    logs.event(logging.WARNING, "upkeep_failed", reason=error.message)
                    self._runtime.sleep(FAILURE_PAUSE_SECONDS)
                is_done = False
            if not is_done:
                self._woken.set()
            if not self._is_stopped:
                self._runtime.sleep(PAUSE_SECONDS)

    def _do_round(self) -> bool:
        """Trim all that must go, checkpoint, then index; whether everything is done."""
        while not self._is_stopped and self._journal.upkeep(self._trim) > 0:
            pass
        is_flowing = self._commits > FLOWING_COMMITS
        self._commits_to_copy += self._commits
        self._commits = 0
        if self._commits_to_copy > CHECKPOINT_COMMITS:
            self._commits_to_copy = 0
            self._journal.upkeep(_checkpoint)
        size, steps = (FLOWING_STEP, FLOWING_STEPS) if is_flowing else (STEP, MOST_STEPS)
        for _ in range(steps):
            if self._is_stopped or self._journal.upkeep(lambda writer: writer.index(size)) == 0:
                return True
            if is_flowing:
                self._runtime.sleep(FLOWING_PAUSE_SECONDS)
        return False

    def _trim(self, writer: Writer) -> int:
        return writer.trim(self._retention, self._clock.now(), STEP)


def _checkpoint(writer: Writer) -> int:
    writer.checkpoint()
    return 0
