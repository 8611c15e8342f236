"""Runs a test's story on an event loop of its own: one native thread a loop."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

from python_pubsub_server.runtime import Runtime, open_runtime

BACKENDS = ("eventlet", "gevent")
PATIENCE = 30.0

# Imported in a thread, eventlet makes a second `threading` module that takes over the lock by
# which the end of that thread is seen: joining it would wait for ever.
for backend in BACKENDS:
    importlib.import_module(f"python_pubsub_server.runtime.{backend}")


def run_on_loop(backend: str, story: Callable[[Runtime], Any], patience: float = PATIENCE) -> Any:
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
