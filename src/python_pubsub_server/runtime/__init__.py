"""The event loop, and the only package that names eventlet or gevent (each in its own module).

Nothing is monkey-patched: code that runs on the loop waits only through what it gets here, and
native threads are plain `threading.Thread`s that talk to the loop by `call_from_thread` alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ConfigurationError
from .sockets import BACKLOG, guarded
from .threads import NativeThreads

__all__ = ["Event", "NativeThreads", "Runtime", "Task", "Timer", "Watch"]
__all__ += ["guarded", "open_runtime"]


class Task(Protocol):
    """A function running beside the others on the loop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, however it ended; False: still running after `timeout` seconds."""

    def kill(self) -> None:
        """End it at the place where it waits; returns at once."""


class Event(Protocol):
    """A flag that tasks wait for. Touch it on the loop only."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """True: it was set in the meantime, even if it was cleared again since."""


class Timer(Protocol):
    def cancel(self) -> None:
        """Make sure that the call does not happen any more; nothing if it already has."""


class Watch(Protocol):
    def close(self) -> None:
        """No call after this. Close a watch before its file descriptor. May be repeated."""


class Runtime(Protocol):
    """What the rest of the project knows of the event loop.

    Functions given to `after`, `call_from_thread`, `watch_*` and `then` run in the loop itself
    and must not wait. What they, or a task, fail to catch is logged and harms nothing else.
    """

    name: str

    def spawn(self, function: Callable[..., object], *args: Any) -> Task: ...

    def sleep(self, seconds: float) -> None: ...

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> Timer: ...

    def event(self) -> Event: ...

    def native_threads(self, count: int, name: str) -> NativeThreads: ...

    def call_from_thread(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function on the loop soon, in the order of the calls.

        The one method for native threads and signal handlers; the loop may use it too.
        """

    def watch_readable(self, fd: int, function: Callable[[], object]) -> Watch:
        """Call a function again and again while there is something to read (or an end)."""

    def watch_writable(self, fd: int, function: Callable[[], object]) -> Watch:
        """Call a function again and again while there is room to write (or an error)."""

    def listen(
        self, host: str, port: int, backlog: int = BACKLOG, *, is_shared: bool = False
    ) -> socket.socket:
        """A listening socket; ListenError says in one line why not. Port 0: any free one.

        `is_shared`: others that say so may listen there, too; connections are shared out.
        """

    def close(self) -> None:
        """Give back what the loop itself holds; nothing runs on it after this."""


def open_runtime(name: str) -> Runtime:
    """The loop of the calling thread: `eventlet` or `gevent`."""
    if name == "eventlet":
        from .eventlet import EventletRuntime

        return EventletRuntime()
    if name == "gevent":
        try:
            from .gevent import GeventRuntime
        except ModuleNotFoundError as error:
            raise ConfigurationError("gevent is not installed: pip install gevent") from error

        return GeventRuntime()
    raise ConfigurationError(f"unknown async mode {name!r}: eventlet or gevent")
