"""The bus over Redis: pub/sub for what is said, keys that expire for who is there.

Redis is spoken to in native threads only: one speaks, one hears, and whoever exchanges cards
brings a thread along. Each of them connects again by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import logs
from ..model import Message
from ..runtime import Runtime
from . import frames
from .bus import BusFailed, Card, Hear, HearChannel, HearEntry, channel_matches
from .frames import Announcement, NotAnAnnouncement
from .redis_ear import Ear
from .redis_ingress import Ingress
from .redis_link import FAILURES, reason_of
from .redis_registry import Registry
from .redis_voice import Spoken, Voice

MAX_UNHEARD = 256  # that the loop has not taken yet; Redis keeps the rest, or drops it
MAX_CHANNEL_BYTES = 2**20  # of what another program publishes
START_SECONDS = 2.5
NOT_YET = "not connected yet"
INGRESS = "ingress"


class RedisBus:
    is_shared = True

    def __init__(self, url: str, *, log_id: str, node_id: str, runtime: Runtime) -> None:
        self._url = url
        self._node_id = node_id
        self._runtime = runtime
        self._channel = f"pubsub:{log_id}:log"
        self._registry = Registry(url, log_id)
        self._voice = Voice(url, partial(self._tell, "say"))
        self._ear: Ear | None = None
        self._ingress: Ingress | None = None
        self._listeners: list[tuple[str, HearChannel]] = []
        self._hear: Hear = _nobody
        self._changed: Callable[[], None] = lambda: None
        self._failures: dict[str, str] = {"say": NOT_YET, "hear": NOT_YET}
        self._told: dict[str, str | None] = {}  # each part by one thread
        self._is_lost: bool | None = None  # what the log was told
        self._is_tried = runtime.event()
        self._is_closing = threading.Event()
        self._room = threading.BoundedSemaphore(MAX_UNHEARD)
        self._threads = runtime.native_threads(3, "bus")

    @property
    def failure(self) -> str | None:
        return next(iter(self._failures.values()), None)

    def on_channel(self, pattern: str, hear: HearChannel) -> None:
        self._listeners.append((pattern, hear))

    def on_entry(self, hear: HearEntry) -> None:
        self._ingress = Ingress(
            self._url, self._node_id, hear, self._hand, partial(self._tell, INGRESS)
        )

    def start(self, hear: Hear, changed: Callable[[], None]) -> None:
        self._hear, self._changed = hear, changed
        names = [self._channel, *(pattern for pattern, _ in self._listeners)]
        self._ear = Ear(self._url, names, self._take, partial(self._tell, "hear"))
        for part in (self._voice, self._ear, self._ingress):
            if part is not None:
                self._threads.submit(part.run, then=_ended)
        self._is_tried.wait(START_SECONDS)

    def announce(self, first: int, last: int, messages: Sequence[Message] | None) -> None:
        if "say" in self._failures:
            return
        size = 0 if messages is None else frames.inline_size(messages)
        if size > frames.MAX_INLINE_BYTES or not self._voice.has_room(size):
            messages, size = None, 0
        if self._voice.has_room(size):
            announcement = Announcement(self._node_id, first, last, messages)
            self._voice.put(Spoken(self._channel, announcement, size))

    def publish(self, channel: str, payload: bytes) -> None:
        if "say" in self._failures or "hear" in self._failures:
            self._hear_channel(channel, payload)
        elif self._voice.has_room(len(payload)):
            self._voice.put(Spoken(channel, payload, len(payload)))

    def exchange(self, card: Card) -> Sequence[Card]:
        try:
            cards = self._registry.exchange(card)
        except FAILURES as error:
            reason = reason_of(error, self._url)
            self._tell("registry", reason)
            raise BusFailed(reason) from error
        self._tell("registry", None)
        return cards

    def withdraw(self, node_id: str) -> None:
        try:
            self._registry.withdraw(node_id)
        except FAILURES as error:
            raise BusFailed(reason_of(error, self._url)) from error

    def close(self, timeout: float) -> None:
        self._is_closing.set()
        for part in (self._voice, self._ear, self._ingress):
            if part is not None:
                part.stop()
        self._threads.close(timeout)
        self._registry.close()

    # In the native threads.

    def _tell(self, part: str, failure: str | None) -> None:
        """Say what has become of a part of the bus, if that is new."""
        if self._told.get(part, NOT_YET) != failure and not self._is_closing.is_set():
            self._told[part] = failure
            self._runtime.call_from_thread(self._set, part, failure)

    def _take(self, channel: str, data: bytes) -> None:
        """Pass on what was heard, as fast as the loop takes it."""
        if channel != self._channel:
            if len(data) <= MAX_CHANNEL_BYTES:
                self._hand(self._hear_channel, channel, data)
            else:
                self._hand(_too_large, channel, len(data))
        elif not frames.is_of(data, self._node_id):
            try:
                told = frames.decode(data)
            except NotAnAnnouncement as error:
                self._hand(_not_understood, str(error))
            else:
                self._hand(self._hear, told.first, told.last, told.messages)

    def _hand(self, function: Callable[..., object], *args: Any) -> None:
        while not self._room.acquire(timeout=1.0):
            if self._is_closing.is_set():
                return
        self._runtime.call_from_thread(self._call, function, args)

    # On the event loop.

    def _call(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._room.release()
        if not self._is_closing.is_set():
            function(*args)

    def _hear_channel(self, channel: str, payload: bytes) -> None:
        for pattern, hear in self._listeners:
            if channel_matches(pattern, channel):
                hear(channel, payload)

    def _set(self, part: str, failure: str | None) -> None:
        if part == INGRESS:  # what others put there must not make a node look ill
            if failure is not None:
                logs.event(logging.WARNING, "ingress_failed", reason=failure)
            return
        if failure is None:
            self._failures.pop(part, None)
        else:
            self._failures[part] = failure
        is_lost = self.failure is not None
        if is_lost and failure is None:
            return  # another part does not work, or not yet
        self._is_tried.set()
        if is_lost == self._is_lost:
            return
        self._is_lost = is_lost
        if is_lost:
            logs.event(logging.WARNING, "bus_lost", reason=failure)
        else:
            logs.event(logging.INFO, "bus_connected")
        self._changed()


def _nobody(first: int, last: int, messages: Sequence[Message] | None) -> None:
    pass


def _ended(_result: object, error: BaseException | None) -> None:
    if error is not None:
        logs.event(logging.ERROR, "bus_thread_failed", exception=error)


def _too_large(channel: str, size: int) -> None:
    logs.event(logging.WARNING, "bus_message_too_large", channel=channel, bytes=size)


def _not_understood(reason: str) -> None:
    logs.event(logging.WARNING, "bus_message_not_understood", reason=reason)
