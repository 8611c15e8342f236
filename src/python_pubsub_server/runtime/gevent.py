"""The event loop by gevent: its hub and greenlets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event

from .sockets import BACKLOG, Mailbox, guarded, listen
from .threads import NativeThreads

READ, WRITE = 1, 2  # the loop's own constants


class _Task:
    __slots__ = ("_greenlet",)

    def __init__(self, task: Any) -> None:
        self._greenlet = task

    def wait(self, timeout: float | None = None) -> bool:
        self._greenlet.join(timeout)
        return bool(self._greenlet.ready())

    def kill(self) -> None:
        self._greenlet.kill(block=False)


class _Timer:
    __slots__ = ("_timer",)

    def __init__(self, seconds: float, function: Callable[..., object], args: Any) -> None:
        self._timer = gevent.get_hub().loop.timer(max(seconds, 0))
        self._timer.start(self._fire, function, args)

    def _fire(self, function: Callable[..., object], args: Any) -> None:
        self.cancel()
        guarded(function, *args)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


class _Watch:
    __slots__ = ("_watcher",)

    def __init__(self, kind: int, fd: int, function: Callable[[], object]) -> None:
        self._watcher = gevent.get_hub().loop.io(fd, kind)
        self._watcher.start(guarded, function)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


class GeventRuntime:
    name = "gevent"

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self._mail = self.watch_readable(self._mailbox.fileno(), self._mailbox.deliver)

    def spawn(self, function: Callable[..., object], *args: Any) -> _Task:
        return _Task(gevent.spawn(guarded, function, *args))

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> _Timer:
        return _Timer(seconds, function, args)

    def event(self) -> Any:
        return gevent.event.Event()

    def native_threads(self, count: int, name: str) -> NativeThreads:
        return NativeThreads(self, count, name)

    def call_from_thread(self, function: Callable[..., object], *args: Any) -> None:
        self._mailbox.put(function, args)

    def watch_readable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(READ, fd, function)

    def watch_writable(self, fd: int, function: Callable[[], object]) -> _Watch:
        return _Watch(WRITE, fd, function)

    def listen(
        self, host: str, port: int, backlog: int = BACKLOG, *, is_shared: bool = False
    ) -> socket.socket:
        return listen(host, port, backlog, is_shared=is_shared)

    def close(self) -> None:
        self._mail.close()
        self._mailbox.close()
        gevent.get_hub().destroy()
