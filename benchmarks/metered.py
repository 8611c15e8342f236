"""The server, counting what of its own CPU goes to the pages that are open in a browser.

    python benchmarks/metered.py FILE --host 127.0.0.1 --port 5000 ...

What a request of a browser starts belongs to the pages, and all that this starts in turn: the
answer, the queries in other threads, the WebSocket, the events that go out on it. So does what
every commit tells the dashboards. CPU clocks of the threads are read whenever such work begins,
ends or waits, so nothing depends on what else the server or the machine does. FILE holds the
seconds so far, as one number (see `spent`).
"""

from __future__ import annotations

import mmap
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from time import thread_time
from typing import Any

import greenlet

NUMBER = struct.Struct("d")


def spent(file: Path) -> float:
    """CPU seconds that went to pages, by the file of a metered server."""
    seconds: float = NUMBER.unpack(file.read_bytes())[0]
    return seconds


class Meter:
    """Sums up the CPU of functions that run for the pages, on the loop and on other threads.

    Made on the loop's thread. A task that waits costs nothing meanwhile: greenlets tell when they
    take turns.
    """

    def __init__(self, file: Path) -> None:
        file.write_bytes(NUMBER.pack(0.0))
        with file.open("r+b") as opened:
            self._total = mmap.mmap(opened.fileno(), NUMBER.size)
        self._seconds = 0.0
        self._lock = threading.Lock()  # of the sum
        self._loop = threading.get_ident()
        self._marked: set[greenlet.greenlet] = set()  # in which a marked function runs
        self._since = 0.0  # when the one that runs now began to
        greenlet.settrace(self._switched)

    def run(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call a function for the pages."""
        if threading.get_ident() != self._loop:
            began = thread_time()
            try:
                return function(*args, **named)
            finally:
                self._add(thread_time() - began)
        current = greenlet.getcurrent()
        if current in self._marked:
            return function(*args, **named)
        self._marked.add(current)
        self._since = thread_time()
        try:
            return function(*args, **named)
        finally:
            self._add(thread_time() - self._since)
            self._marked.discard(current)

    def leave_out(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call a function, within one that is for the pages, that is not."""
        if greenlet.getcurrent() not in self._marked:
            return function(*args, **named)
        self._add(thread_time() - self._since)
        try:
            return function(*args, **named)
        finally:
            self._since = thread_time()

    def inherited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is for the pages if what runs now is."""
        is_loop = threading.get_ident() == self._loop
        if is_loop and greenlet.getcurrent() in self._marked:
            return partial(self.run, function)
        return function

    def _add(self, seconds: float) -> None:
        with self._lock:
            self._seconds += seconds
            NUMBER.pack_into(self._total, 0, self._seconds)

    def _switched(self, event: str, ends: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
        origin, target = ends
        if origin in self._marked:
            self._add(thread_time() - self._since)
        if target in self._marked:
            self._since = thread_time()


def fit(meter: Meter) -> None:
    """Let the server's parts tell the meter what they do for the pages."""
    from python_pubsub_server.activity import Activity
    from python_pubsub_server.monitoring import Monitoring
    from python_pubsub_server.runtime.eventlet import EventletRuntime
    from python_pubsub_server.runtime.threads import NativeThreads
    from python_pubsub_server.transport.http import server
    from python_pubsub_server.transport.http.connection import Connection

    class MeteredConnection(Connection):
        __slots__ = ("is_of_page",)

        def __init__(self, *args: Any) -> None:
            self.is_of_page = False
            super().__init__(*args)

        def read(self) -> None:
            if self.is_of_page:
                meter.run(super().read)
            else:
                super().read()

        def _answer(self, request: Any) -> None:
            if "Mozilla" in request.environ.get("HTTP_USER_AGENT", ""):
                self.is_of_page = True
                meter.run(super()._answer, request)
            else:
                super()._answer(request)

    server.Connection = MeteredConnection  # type: ignore[misc]
    for name in ("delivered", "heard", "joined", "left"):
        replace(Monitoring, name, lambda original: lambda *args: meter.run(original, *args))
    # It is counted whether somebody watches or not.
    replace(Activity, "count", lambda original: lambda *args: meter.leave_out(original, *args))

    def starting(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def start(*args: Any, **named: Any) -> Any:
            given = list(args)
            given[position] = meter.inherited(given[position])
            return original(*given, **named)

        return start

    for name, position in (
        ("spawn", 1),
        ("after", 2),
        ("watch_readable", 2),
        ("watch_writable", 2),
    ):
        replace(EventletRuntime, name, partial(starting, position=position))

    def submit(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, function, *args, then: original(
            self, meter.inherited(function), *args, then=meter.inherited(then)
        )

    replace(NativeThreads, "submit", submit)


def replace(
    owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    original = getattr(owner, name)
    setattr(owner, name, wraps(original)(wrap(original)))


if __name__ == "__main__":
    fit(Meter(Path(sys.argv.pop(1))))
    from python_pubsub_server.pubsub_ws import main

    main()
