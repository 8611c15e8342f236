"""A bounded pool of plain threads for what would stop the loop: commits, reads, file access."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from . import Runtime

T = TypeVar("T")
Then = Callable[[Any, BaseException | None], None]
Job = tuple[Callable[..., Any], tuple[Any, ...], Then]


class NativeThreads:
    """Threads that take work in the order it was given. Used from the loop only."""

    def __init__(self, runtime: Runtime, count: int, name: str) -> None:
        self._runtime = runtime
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._ended = runtime.event()
        self._closed = False
        self._alive = count
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Wait for a function in the calling task only; what it raises is raised here.

        TimeoutError: it was not done in time; it goes on, and its result is dropped.
        """
        done = self._runtime.event()
        outcome: list[tuple[Any, BaseException | None]] = []

        def finish(result: Any, error: BaseException | None) -> None:
            outcome.append((result, error))
            done.set()

        self.submit(function, *args, then=finish)
        if not done.wait(timeout):
            raise TimeoutError(f"no result after {timeout} seconds")
        result, error = outcome.pop()
        if error is not None:
            try:
                raise error
            finally:
                del error  # else this frame and the traceback would keep each other
        return result  # type: ignore[no-any-return]

    @property
    def waiting(self) -> int:
        """How much work no thread has taken yet."""
        return self._jobs.qsize()

    def submit(self, function: Callable[..., T], *args: Any, then: Then) -> None:
        """Call `then(result, None)` or `then(None, error)` on the loop once it is done."""
        if self._closed:
            raise RuntimeError("these threads are closed")
        self._jobs.put((function, args, then))

    def close(self, timeout: float | None = None) -> bool:
        """Take no more work and wait for what is queued; False: some of it is still running."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)
        if not self._ended.wait(timeout):
            return False
        for thread in self._threads:
            thread.join()
        return True

    def _work(self) -> None:
        call = self._runtime.call_from_thread
        while (job := self._jobs.get()) is not None:
            function, args, then = job
            try:
                result = function(*args)
            except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
                call(then, None, error)
            else:
                call(then, result, None)
                del result
            del job, function, args, then  # an idle thread must not keep the last job alive
        call(self._end_one)

    def _end_one(self) -> None:
        self._alive -= 1
        if not self._alive:
            self._ended.set()
