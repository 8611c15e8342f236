"""Delivers the log on this node in the order of its positions, whichever node committed what.

The feed stands between three sources and the hub: commits of this node, announcements of other
nodes, and the log itself, which is read where the first two leave a gap. It belongs to the event
loop. On a node that is alone every commit follows the one before, and nothing is ever read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from . import logs
from .errors import Unavailable
from .hub import Hub
from .journal import Pause
from .model import Message, bytes_of
from .runtime import Runtime, Timer
from .storage.readers import Readers

MAX_PART_BYTES = 2**19
MAX_TURNS = 1_000  # of the event loop that a delivery may wait for slow readers
TURN_SECONDS = 0.002  # between two parts of a delivery, so that connections can empty
PAGE = 500
PAGE_BYTES = 2**20
MAX_AHEAD = 1_000
MAX_AHEAD_BYTES = 16 * 2**20
# What a reader sees may be on its way here: a commit of ours that the loop has not heard of yet,
# or another node's announcement. Read from the log only what does not come by itself.
GRACE_SECONDS = 0.02
GAP_SECONDS = 5.0  # without any progress; then whoever waits for a gap goes on without it
SETTLE_SECONDS = 30.0
FAILURE_PAUSE_SECONDS = 0.25


class Ahead(msgspec.Struct, frozen=True):
    """A range of the log that came before what lies between it and the last delivered one."""

    last: int
    messages: Sequence[Message]
    size: int
    is_own: bool


class Waiter:
    """Whoever wants to go on once a position is delivered."""

    __slots__ = ("go_on", "position", "seen", "timer")

    def __init__(self, position: int, go_on: Callable[[], object], seen: int) -> None:
        self.position = position
        self.go_on = go_on
        self.seen = seen  # what was delivered when the timer was set
        self.timer: Timer | None = None


class Feed:
    """What this node has delivered, and what it knows to come. Each position is delivered once."""

    def __init__(
        self,
        hub: Hub,
        readers: Readers,
        runtime: Runtime,
        delivered: int,
        *,
        part_bytes: int = MAX_PART_BYTES,
    ) -> None:
        self.delivered = delivered  # the log's position up to which everything is delivered
        self.on_heard: Callable[[Sequence[Message]], None] = lambda messages: None
        self._hub = hub
        self._readers = readers
        self._runtime = runtime
        self._part_bytes = part_bytes
        self._known = delivered  # the log is known to reach this far
        self._ahead: dict[int, Ahead] = {}  # by its first position
        self._ahead_bytes = 0
        self._waiters: list[Waiter] = []
        self._is_busy = False  # a delivery is between two of its parts
        self._is_failing = False
        self._is_stopped = False
        self._poll_seconds: float | None = None
        self._must_look = False
        self._woken = runtime.event()
        self._task = runtime.spawn(self._run)

    def committed(self, messages: Sequence[Message], last: int) -> Iterator[Pause] | None:
        """Deliver what this node committed, the last of it at a position, behind all before it.

        What cannot be done in this turn of the loop goes on with each `next`.
        """
        if not messages:
            self._reaches(last)
            return None
        first = last - len(messages) + 1
        if first == self.delivered + 1 and not self._is_busy:
            parts = self._parts(messages)
            if len(parts) > 1:
                return self._deliver_in_turns(parts, last)
            self._deliver(messages, last)
            if self._known > last:
                self._deliver_ahead()
            return None
        if last <= self.delivered:
            return None
        self._keep(first, last, messages, is_own=True)
        self._wake()
        return iter([partial(self._when, last)])

    def heard(self, first: int, last: int, messages: Sequence[Message] | None) -> None:
        """Another node committed these positions; what it did not send along is read."""
        if last <= self.delivered:
            return
        self._known = max(self._known, last)
        if messages is not None and len(messages) == last - first + 1:
            self._keep(first, last, messages, is_own=False)
        self._deliver_ahead()

    def poll(self, seconds: float | None) -> None:
        """Look into the log now, and from now on every so many seconds (None: never)."""
        self._poll_seconds = seconds
        self._must_look = True
        self._wake()

    def settle(self, position: int) -> None:
        """Wait until the log is delivered here up to a position that a reader saw.

        Raises Unavailable when it does not come to that.
        """
        if position <= self.delivered:
            return
        is_there = self._runtime.event()
        waiter = Waiter(position, is_there.set, self.delivered)
        self._waiters.append(waiter)
        self._reaches(position)
        if not is_there.wait(SETTLE_SECONDS):
            self._waiters.remove(waiter)
            raise Unavailable("The server is behind with its deliveries; try again")

    def close(self, timeout: float) -> None:
        self._is_stopped = True
        self._wake()
        if not self._task.wait(timeout):
            self._task.kill()

    def _wake(self) -> None:
        if not self._woken.is_set():
            self._woken.set()

    def _reaches(self, position: int) -> None:
        """The log has this position; what does not come by itself soon is read."""
        if position > self.delivered:
            self._known = max(self._known, position)
            self._runtime.after(GRACE_SECONDS, self._wake)

    def _keep(self, first: int, last: int, messages: Sequence[Message], *, is_own: bool) -> None:
        """Keep a range for its turn, unless too much is kept already: then it is read later.

        Of this node's own commits one at most waits here, as the journal waits for it.
        """
        size = sum(bytes_of(message) for message in messages)
        has_room = len(self._ahead) < MAX_AHEAD and self._ahead_bytes + size <= MAX_AHEAD_BYTES
        self._known = max(self._known, last)
        if first not in self._ahead and (has_room or is_own):
            self._ahead[first] = Ahead(last, messages, size, is_own)
            self._ahead_bytes += size

    def _next(self) -> Ahead | None:
        """The kept range that comes next; those that are delivered by now go."""
        for first in [first for first in self._ahead if first <= self.delivered]:
            self._ahead_bytes -= self._ahead.pop(first).size
        return self._ahead.get(self.delivered + 1)

    def _deliver_ahead(self) -> None:
        """Deliver in this turn of the loop what has come and is next, if it is not too much."""
        while not self._is_busy and (following := self._next()) is not None:
            if len(self._parts(following.messages)) > 1:
                break
            self._deliver(following.messages, following.last)
            if not following.is_own:
                self._tell_heard(following.messages)
        if self._known > self.delivered:
            self._wake()

    def _deliver(self, messages: Sequence[Message], last: int) -> None:
        try:
            self._send(messages)
        finally:
            self._reach(last)

    def _deliver_in_turns(self, parts: Sequence[Sequence[Message]], last: int) -> Iterator[Pause]:
        """A batch that would fill the connections' buffers leaves in parts that do not.

        Between two parts the slowest reader gets time, but no more than a reader that is only
        slow needs: one that has stopped may not hold up the publishers, and is cut off instead.
        """
        turns = MAX_TURNS
        self._is_busy = True
        try:
            for part in parts:
                self._send(part)
                yield self._next_turn
                while turns and self._hub.backlog(part) > self._part_bytes:
                    turns -= 1
                    yield self._next_turn
        finally:
            self._is_busy = False
            self._reach(last)
            if self._known > last or self._must_look:
                self._wake()

    def _next_turn(self, go_on: Callable[[], object]) -> None:
        self._runtime.after(TURN_SECONDS, go_on)

    def _send(self, messages: Sequence[Message]) -> None:
        try:
            self._hub.deliver(messages)
        except Exception:
            # Somebody may have missed something: everybody comes again and says what it has.
            self._hub.cut_off("delivery failed")
            raise

    def _reach(self, position: int) -> None:
        """Everything up to a position is delivered, or those who missed it were cut off."""
        self.delivered = position
        self._known = max(self._known, position)
        if self._waiters:
            self._tell_waiters()

    def _tell_waiters(self) -> None:
        there = [waiter for waiter in self._waiters if waiter.position <= self.delivered]
        self._waiters = [waiter for waiter in self._waiters if waiter.position > self.delivered]
        for waiter in there:
            if waiter.timer is not None:
                waiter.timer.cancel()
            waiter.go_on()

    def _when(self, position: int, go_on: Callable[[], object]) -> None:
        """Go on when a position is delivered, or given up."""
        if position <= self.delivered:
            self._runtime.after(0, go_on)
            return
        waiter = Waiter(position, go_on, self.delivered)
        self._waiters.append(waiter)
        waiter.timer = self._runtime.after(GAP_SECONDS, self._look_after, waiter)

    def _look_after(self, waiter: Waiter) -> None:
        """A publisher may not wait for ever for what is before its message and cannot be read."""
        if self._is_busy or self.delivered > waiter.seen:
            waiter.seen = self.delivered
            waiter.timer = self._runtime.after(GAP_SECONDS, self._look_after, waiter)
            return
        self._skip(waiter.position, "The log could not be read")

    def _skip(self, position: int, reason: str) -> None:
        """Go on behind a gap: all subscribers resume from the log, and hear there what is lost."""
        logs.event(
            logging.ERROR,
            "deliveries_skipped",
            reason=reason,
            after=self.delivered,
            through=position,
        )
        self._hub.cut_off("missed messages")
        self._reach(position)

    def _run(self) -> None:
        while not self._is_stopped:
            is_called = self._woken.wait(self._poll_seconds)
            self._woken.clear()
            if not is_called:
                self._must_look = True
            try:
                self._catch_up()
                self._is_failing = False
            except Unavailable as error:
                self._pause(error.message, None)
            except Exception as error:  # noqa: BLE001 - a defect: told by the log, tried again
                self._pause("a defect", error)

    def _pause(self, reason: str, error: Exception | None) -> None:
        if not self._is_failing and not self._is_stopped:
            self._is_failing = True
            logs.event(logging.WARNING, "catching_up_failed", reason=reason, exception=error)
        self._runtime.sleep(FAILURE_PAUSE_SECONDS)
        self._wake()

    def _catch_up(self) -> None:
        """Deliver all that is known to be there: what was kept, and between it what is read."""
        while not self._is_stopped and not self._is_busy:
            following = self._next()
            if following is not None:
                self._deliver_patiently(following.messages, following.last)
                if not following.is_own:
                    self._tell_heard(following.messages)
            elif self._must_look or self._known > self.delivered:
                self._must_look = False
                self._read_on()
            else:
                return

    def _read_on(self) -> None:
        """Deliver a page of the log from where this node stands, up to what was kept."""
        known = self._known
        after = self.delivered
        stretch = self._readers.read(lambda reader: reader.stretch(after, PAGE, PAGE_BYTES))
        if self._is_busy:
            return  # a commit of ours came in the meantime, and wakes this task when it is done
        through = min([stretch.through, *(first - 1 for first in self._ahead)])
        if stretch.through < known == self._known and stretch.is_last:
            self._known = max(stretch.through, self.delivered)  # the log does not reach so far
        if through <= self.delivered:
            return
        missed = [m for at, m in stretch.messages if self.delivered < at <= through]
        if len(missed) < through - self.delivered:
            self._skip(self.delivered, "Retention has deleted messages before they were delivered")
        self._deliver_patiently(missed, through)
        self._tell_heard(missed)

    def _deliver_patiently(self, messages: Sequence[Message], last: int) -> None:
        parts = self._parts(messages)
        if len(parts) == 1:
            self._deliver(messages, last)
            return
        for _ in self._deliver_in_turns(parts, last):
            self._runtime.sleep(TURN_SECONDS)

    def _tell_heard(self, messages: Sequence[Message]) -> None:
        try:
            self.on_heard(messages)
        except Exception as error:  # noqa: BLE001 - delivered they are; a defect of who counts them
            logs.event(logging.ERROR, "listener_failed", exception=error)

    def _parts(self, messages: Sequence[Message]) -> Sequence[Sequence[Message]]:
        """Messages cut where more than `part_bytes` would leave at once."""
        if len(messages) < 2:
            return [messages]
        parts, start, size = [], 0, 0
        for end, message in enumerate(messages):
            size += bytes_of(message)
            if size > self._part_bytes and end > start:
                parts.append(messages[start:end])
                start, size = end, bytes_of(message)
        parts.append(messages[start:])
        return parts
