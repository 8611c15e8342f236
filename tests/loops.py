"""Runs a test's story on an event loop of its own: one native thread a loop."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from python_pubsub_server.runtime import Runtime, Task, open_runtime
from python_pubsub_server.transport.http import HTTPServer

T = TypeVar("T")

BACKENDS = ("eventlet", "gevent")
PATIENCE = 20.0  # of whatever a story waits for: the machine may be busy
STORY_PATIENCE = 90.0

# Imported in a thread, eventlet makes a second `threading` module that takes over the lock by
# which the end of that thread is seen: joining it would wait for ever.
for backend in BACKENDS:
    importlib.import_module(f"python_pubsub_server.runtime.{backend}")


def run_on_loop(
    backend: str, story: Callable[[Runtime], Any], patience: float = STORY_PATIENCE
) -> Any:
    """What the story returns or raises; it may wait as tasks do."""
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def live() -> None:
        runtime = open_runtime(backend)
        try:
            outcome.append(story(runtime))
        except BaseException as error:  # noqa: BLE001 - raised again by the test's thread
            errors.append(error)
        finally:
            runtime.close()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    thread.join(patience)
    if errors:
        raise errors[0]
    assert outcome, f"the story did not end within {patience} seconds"
    return outcome[0]


def tell_story(
    make: Callable[[Runtime], T], tale: Callable[[T], Any], backend: str = "eventlet"
) -> Any:
    """What a tale returns or raises about what was made for it on a loop; that is closed then."""

    def story(runtime: Runtime) -> Any:
        with contextlib.closing(make(runtime)) as made:
            return tale(made)

    return run_on_loop(backend, story)


def until(runtime: Runtime, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Leave turns to others until something is so; what it was."""
    give_up_at = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"not so within {patience:g} seconds"
        runtime.sleep(0.001)
    return found


def watch_tasks(runtime: Runtime) -> list[Task]:
    """The tasks that are started from now on; the list grows with them."""
    started: list[Task] = []
    spawn = runtime.spawn

    def watched(function: Callable[..., object], *args: Any) -> Task:
        started.append(spawn(function, *args))
        return started[-1]

    runtime.spawn = watched  # type: ignore[method-assign]
    return started


def run_program(code: str) -> None:
    """A program of its own, which must end well and write no error."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": "src"},
        check=False,
        capture_output=True,
        text=True,
        timeout=STORY_PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")


class Serving:
    """A server with an application, as seen from a story."""

    def __init__(self, runtime: Runtime, app: Callable[..., Any], **options: Any) -> None:
        self.runtime = runtime
        self.listener = runtime.listen("127.0.0.1", 0)
        self.address = self.listener.getsockname()
        self.server = HTTPServer(runtime, self.listener, app, **options)
        self.task = runtime.spawn(self.server.run)
        self.clients = runtime.native_threads(4, "client")

    def exchange(self, *requests: bytes) -> bytes:
        """Everything that the server sends until it closes."""
        return self.clients.run(self._exchange, requests, timeout=PATIENCE)

    def _exchange(self, requests: tuple[bytes, ...]) -> bytes:
        with socket.create_connection(self.address, timeout=PATIENCE) as client:
            for request in requests:
                client.sendall(request)
            got = b""
            while piece := client.recv(65536):
                got += piece
        return got

    def stop(self) -> None:
        self.server.stop()
        assert self.task.wait(PATIENCE)
        assert self.clients.close(PATIENCE)


@contextlib.contextmanager
def serving(runtime: Runtime, app: Callable[..., Any], **options: Any) -> Iterator[Serving]:
    served = Serving(runtime, app, **options)
    try:
        yield served
    finally:
        served.stop()
