"""The event loop by eventlet: its hub and green threads."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    # Its authors announce its retirement at every import: known, see docs/decisions, and
    # nothing that someone who runs this server can do anything about.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.event
    import eventlet.hubs
    import greenlet

from .sockets import BACKLOG, Mailbox, guarded, listen
from .threads import NativeThreads

log = logging.getLogger("pubsub")


class _Task:
    __slots__ = ("_thread",)

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def wait(self, timeout: float | None = None) -> bool:
        with eventlet.Timeout(timeout, False):
            try:
                self._thread.wait()
            except greenlet.GreenletExit:
                if not self._thread.dead:
                    raise  # it is the waiting task that is being ended
            return True
        return False

    def kill(self) -> None:
        # Not from here: eventlet's own kill switches to the victim at once.
        eventlet.hubs.get_hub().schedule_call_global(0, self._thread.kill)


class _Event:
    """eventlet's event can be set once only."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = eventlet.event.Event()

    def set(self) -> None:
        if not self._event.ready():
            self._event.send(True)

    def clear(self) -> None:
        if self._event.ready():
            self._event = eventlet.event.Event()

    def is_set(self) -> bool:
        return bool(self._event.ready())

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout) is True


class _Watch:
    """A listener that stays registered with the hub from call to call."""

    __slots__ = ("_function", "_hub", "_listener")

    def __init__(self, evtype: str, fd: int, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function
        self._hub = eventlet.hubs.get_hub()
        self._listener = self._hub.add(evtype, fd, self._ready, self._obsolete, None)
        # Else the hub would keep the task that happened to open the watch.
        self._listener.greenlet = self._hub.greenlet

    def _ready(self, fd: int) -> None:
        # None: closed in this very turn of the hub, by another callback.
        if self._function is not None:
            guarded(self._function)

    def _obsolete(self, *reason: object) -> None:
        log.error("a file descriptor was closed under its watch")

    def close(self) -> None:
        if self._function is not None:
            self._function = None
            self._hub.remove(self._listener)


class EventletRuntime:
    name = "eventlet"

    def __init__(self) -> None:
        self._hub = eventlet.hubs.get_hub()
        self._mailbox = Mailbox()
        self._mail = self.watch_readable(self._mailbox.fileno(), self._mailbox.deliver)

    def spawn(self, function: Callable[..., object], *args: Any) -> _Task:
        return _Task(eventlet.spawn(guarded, function, *args))

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> Any:
        return self._hub.schedule_call_global(seconds, guarded, function, *args)

    def event(self) -> _Event:
        return _Event()

    def native_threads(self, count: int, name: str) -> NativeThreads:
        return NativeThreads(self, count, name)

    def call_from_thread(self, function: Callable[..., object], *args: Any) -> None:
        self._mailbox.put(function, args)

    def watch_readable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(self._hub.READ, fd, function)

    def watch_writable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(self._hub.WRITE, fd, function)

    def listen(
        self, host: str, port: int, backlog: int = BACKLOG, *, is_shared: bool = False
    ) -> socket.socket:
        return listen(host, port, backlog, is_shared=is_shared)

    def close(self) -> None:
        self._mail.close()
        self._mailbox.close()
