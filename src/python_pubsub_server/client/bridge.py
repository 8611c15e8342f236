"""From the threads of a client to the event loop of its user, and back."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Bridge:
    """Runs functions of a user, async or not, on one event loop, called from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[asyncio.Task[Any] | None] = set()

    @property
    def is_handling_here(self) -> bool:
        """Whether it is one of these functions that asks."""
        return asyncio.current_task() in self._running

    def over(self, function: Callable[..., Awaitable[T] | T]) -> Callable[..., T]:
        """A function for threads that runs `function` on the loop and waits for it."""

        def run(*arguments: Any) -> T:
            call = self._call(function, *arguments)
            try:
                future = asyncio.run_coroutine_threadsafe(call, self.loop)
            except RuntimeError:  # the loop is closed
                call.close()
                raise
            return future.result()

        return run

    async def _call(self, function: Callable[..., Awaitable[T] | T], *arguments: Any) -> T:
        task = asyncio.current_task()
        self._running.add(task)
        try:
            result = function(*arguments)
            return await result if inspect.isawaitable(result) else result
        finally:
            self._running.discard(task)
