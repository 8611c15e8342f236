"""The thread that runs a user's code: handlers and callbacks, one after the other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from .confirmations import Confirmations, Key
from .link import Link
from .session import Session
from .tracks import Track
from .values import ClientError, Received, error_of

logger = logging.getLogger("pubsub.client")

Work = Callable[[], None]
OnError = Callable[[Exception, Received | None], object]
OnUnrecovered = Callable[[str], object]


class Queued(msgspec.Struct, frozen=True):
    track: Track
    message: Received
    epoch: str | None
    size: int


class Dispatcher:
    """Hands messages to their handlers in order, and confirms what was handled.

    Confirmations do not wait for their answer. When everything is done and confirmed, `idle` is
    asked for more: it returns work, None, or the time before which it has none.
    """

    def __init__(
        self,
        session: Session,
        idle: Callable[[], Work | float | None],
        on_error: OnError | None,
        on_unrecovered: OnUnrecovered | None,
        *,
        confirms: bool,
        attempts: int,
        max_queued: int,
        max_queued_bytes: int,
    ) -> None:
        self._session = session
        self._idle = idle
        self._on_error = on_error
        self._on_unrecovered = on_unrecovered
        self._attempts = attempts
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._confirmations = Confirmations(session.consumer if confirms else None)
        self._inbox: deque[Queued | Work] = deque()
        self._inbox_bytes = 0
        self._confirm_at: float | None = None
        self._refusals = 0
        self.thread = threading.Thread(target=self._run, name="pubsub-dispatch", daemon=True)

    # Called under the session's lock

    @property
    def is_confirmed(self) -> bool:
        return not self._confirmations

    def has_room(self, size: int) -> bool:
        """Whether a message may be queued: by number, and by bytes unless it is the only one."""
        return len(self._inbox) < self._max_queued and (
            self._inbox_bytes + size <= self._max_queued_bytes or not self._inbox_bytes
        )

    def put(self, track: Track, message: Received, size: int) -> None:
        self._inbox.append(Queued(track, message, self._session.epoch, size))
        self._inbox_bytes += size
        self._session.changed.notify_all()

    def tell_error(self, error: Exception) -> None:
        self._inbox.append(partial(self._report, error, None))
        self._session.changed.notify_all()

    def tell_unrecovered(self, topic: str) -> None:
        self._inbox.append(partial(self._report_unrecovered, topic))
        self._session.changed.notify_all()

    def clear(self) -> None:
        """What was not handled yet will not be."""
        self._inbox.clear()
        self._inbox_bytes = 0
        self._session.changed.notify_all()

    def connected(self, epoch: str | None) -> None:
        """Which log this connection speaks of is known: what was consumed may be confirmed."""
        session = self._session
        if session.epoch not in (None, epoch):
            self._confirmations.clear()  # these sequences mean nothing in another log
        session.epoch = epoch
        if not session.is_epoch_checked:
            session.is_epoch_checked = True
            self._confirm_at = session.clock()
            session.changed.notify_all()

    def disconnected(self) -> None:
        self._confirm_at = None

    # In its own thread

    def _run(self) -> None:
        while (work := self._next_work()) is not None:
            work()

    def _next_work(self) -> Work | None:
        """What to do next, once there is something; None at the end."""
        session = self._session
        with session.changed:
            while not session.is_ended:
                now = session.clock()
                due = self._confirm_at
                if due is not None and due <= now:
                    self._confirm_at = None
                    return self._confirm_again
                if session.is_closing:
                    if not self._confirmations:
                        return None
                elif self._inbox:
                    return self._pop()
                elif not self._confirmations:
                    more = self._idle()
                    if callable(more):
                        return more
                    due = min((at for at in (due, more) if at is not None), default=None)
                session.changed.wait(None if due is None else max(0.0, due - now))
        return None

    def _pop(self) -> Work:
        item = self._inbox.popleft()
        if not isinstance(item, Queued):
            return item
        self._inbox_bytes -= item.size
        return partial(self._handle, item)

    def _handle(self, item: Queued) -> None:
        """Call the handler, more than once if it raises; confirm when it returned."""
        with self._session.changed:
            if self._session.tracks.named(item.track.wanted) is not item.track:
                return  # unsubscribed meanwhile
        for attempt in range(1, self._attempts + 1):
            try:
                item.track.handler(item.message)
            except Exception as error:  # noqa: BLE001 - a user's code; reported to the user
                self._report(error, item.message)
                is_last = attempt == self._attempts
                if is_last or self._session.pause(self._session.backoff.delay(attempt)):
                    break
            else:
                if item.message.is_stored:
                    self._confirm(item)
                return
        if not item.message.is_stored:
            return
        with self._session.changed:
            item.track.gave_up(item.message.topic, item.message.sequence)

    def _confirm(self, item: Queued) -> None:
        with self._session.changed:
            if item.epoch != self._session.epoch:
                return
            body = self._confirmations.add(item.message)
            if body is None:
                item.track.left_unconsumed(item.message.topic)
            # Without a connection, the next one does, once it knows that the log is the same.
            link = self._session.link if self._session.is_epoch_checked else None
        if body is not None and link is not None:
            self._send_consumed((item.message.topic, item.message.sequence), body, link)

    def _confirm_again(self) -> None:
        with self._session.changed:
            waiting = self._confirmations.waiting()
            link = self._session.link
        if link is not None:
            for key, body in waiting:
                self._send_consumed(key, body, link)

    def _send_consumed(self, key: Key, body: str, link: Link) -> None:
        answered = partial(self._on_answer, key)
        try:
            self._session.calls.send("consumed", body, answered, only_on=link)
        except ClientError as error:
            logger.warning("Not confirmed: %s at %s (%s)", *key, error)

    def _on_answer(self, key: Key, answer: Mapping[str, Any]) -> None:
        """In the reading thread: a `consumed` was recorded or refused."""
        session = self._session
        with session.changed:
            is_settled, is_recorded = self._confirmations.answered(key, answer)
            track = session.tracks.covering(key[0])
            error = error_of(answer)
            if not is_settled:
                self._refusals += 1
                self._confirm_at = session.clock() + session.backoff.delay(self._refusals)
            elif is_recorded:
                self._refusals = 0
                if track is not None:
                    track.recorded(*key)
            elif error is not None:
                self.tell_error(error)
                if track is not None:
                    track.gave_up(*key)
            session.changed.notify_all()

    def _report(self, error: Exception, message: Received | None) -> None:
        place = f" at {message.topic} {message.sequence}" if message else ""
        logger.warning("Failed%s: %r", place, error)
        self._call_back(self._on_error, error, message)

    def _report_unrecovered(self, topic: str) -> None:
        logger.warning("Messages of %s were missed and cannot be recovered", topic)
        self._call_back(self._on_unrecovered, topic)

    @staticmethod
    def _call_back(function: Callable[..., object] | None, *arguments: object) -> None:
        if function is None:
            return
        try:
            function(*arguments)
        except Exception:
            logger.exception("A callback raised")
