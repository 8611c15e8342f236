"""The native thread that tells Redis what this node has to say, from a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import msgspec
import redis

from . import frames
from .frames import Announcement
from .redis_link import FAILURES, connect, pause_after, reason_of

MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 16 * 2**20
MAX_TOGETHER = 100
IDLE_SECONDS = 1.0


class Spoken(msgspec.Struct, frozen=True):
    """Something to say: an announcement, or a payload on a channel."""

    channel: str
    what: Announcement | bytes
    size: int


class Voice:
    """`put` and `stop` are for the event loop, `run` is the thread.

    What cannot be said is forgotten: the log has it. `tell` hears why, or None when it works.
    """

    def __init__(self, url: str, tell: Callable[[str | None], None]) -> None:
        self._url = url
        self._tell = tell
        self._queue: queue.SimpleQueue[Spoken | None] = queue.SimpleQueue()
        self._put_bytes = 0  # by the loop
        self._taken_bytes = 0  # by the thread
        self._is_stopped = threading.Event()

    def has_room(self, size: int) -> bool:
        waiting = self._put_bytes - self._taken_bytes
        return self._queue.qsize() < MAX_QUEUED and waiting + size <= MAX_QUEUED_BYTES

    def put(self, spoken: Spoken) -> None:
        self._put_bytes += spoken.size
        self._queue.put(spoken)

    def stop(self) -> None:
        """Say what is queued, if Redis is there, and end."""
        self._is_stopped.set()
        self._queue.put(None)

    def run(self) -> None:
        with connect(self._url, "pubsub-server") as client:
            failures = 0
            is_working = False
            while not self._is_stopped.is_set() or is_working:
                try:
                    if not is_working:
                        client.ping()
                        is_working, failures = True, 0
                        self._tell(None)
                    if not self._say_some(client):
                        return
                except FAILURES as error:
                    is_working, failures = False, failures + 1
                    self._tell(reason_of(error, self._url))
                    self._forget()
                    self._is_stopped.wait(pause_after(failures))

    def _say_some(self, client: redis.Redis) -> bool:
        """Say what waits, or ask whether Redis is still there; False: it was the last."""
        some, is_last = self._take()
        if some:
            pipeline = client.pipeline(transaction=False)
            for spoken in some:
                what = spoken.what
                frame = frames.encode(what) if isinstance(what, Announcement) else what
                pipeline.publish(spoken.channel, frame)
            pipeline.execute()
        elif not is_last:
            client.ping()
        return not is_last

    def _take(self) -> tuple[list[Spoken], bool]:
        some: list[Spoken] = []
        try:
            following = self._queue.get(timeout=IDLE_SECONDS)
            while following is not None:
                self._taken_bytes += following.size
                some.append(following)
                if len(some) >= MAX_TOGETHER:
                    return some, False
                following = self._queue.get_nowait()
        except queue.Empty:
            return some, False
        return some, True

    def _forget(self) -> None:
        while not self._queue.empty():
            spoken = self._queue.get_nowait()
            if spoken is not None:
                self._taken_bytes += spoken.size
