"""The same bytes to many connections, for little more than the price of the system calls.

Walking a thousand connections' objects costs a fifth of sending to them. So an outlet, which is a
WebSocket that is open and has nothing unsent, is remembered by its socket's own `send`, and used
by that as long as no outlet anywhere has changed its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .connection import Broadcast, Connection

Form = Callable[["Broadcast"], bytes]


class Changes:
    """Counts up whenever a WebSocket stops or begins to be open and empty."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Outlet:
    """What a WebSocket is to a fan-out. `send` is its socket's own: not while `is_clear` is not."""

    __slots__ = ()

    changes: Changes
    send: Callable[[bytes], int]

    @property
    def is_clear(self) -> bool:
        """Whether it is open and has nothing unsent; `changes` counts when this changes."""
        raise NotImplementedError

    def send_frames(self, frames: bytes) -> None:
        """Put whole frames behind all that was sent before."""
        raise NotImplementedError

    def keep_rest(self, frames: bytes, sent: int) -> None:
        """Send later what `send` did not take."""
        raise NotImplementedError


class Way(NamedTuple):
    """How a connection's next broadcast may leave: in this form, by this outlet."""

    form: Form
    outlet: Outlet


class Lane:
    """Outlets that take one form."""

    __slots__ = ("_changes", "_form", "_outlets", "_seen", "_sends")

    def __init__(self, form: Form, changes: Changes, seen: int) -> None:
        self._form = form
        self._changes = changes
        self._seen = seen
        self._outlets: list[Outlet] = []
        self._sends: list[Callable[[bytes], int]] = []

    @property
    def is_stale(self) -> bool:
        return self._changes.count != self._seen

    def add(self, outlet: Outlet) -> None:
        self._outlets.append(outlet)
        self._sends.append(outlet.send)

    def send(self, broadcast: Broadcast) -> None:
        frames = broadcast.form(self._form)
        if self.is_stale:
            for outlet in self._outlets:
                outlet.send_frames(frames)
            return
        size = len(frames)
        sends = iter(self._sends)
        while True:
            try:
                for send in sends:
                    if (sent := send(frames)) != size:
                        self._last(sends).keep_rest(frames, sent)
                return
            except OSError:  # a full buffer, or the end: it knows what to do
                self._last(sends).send_frames(frames)

    def _last(self, sends: object) -> Outlet:
        """Whose turn it was. Not counted, because that would cost each delivery."""
        return self._outlets[len(self._sends) - length_hint(sends) - 1]


class Fanout:
    """Connections that get the same broadcasts."""

    __slots__ = ("_lanes", "_others", "connections")

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        self._lanes: list[Lane] | None = None
        self._others: list[Connection] = []

    def send(self, broadcast: Broadcast) -> None:
        """Put a broadcast behind all that was sent to each connection before."""
        if self._lanes is None or any(lane.is_stale for lane in self._lanes):
            self._send_and_sort(broadcast)
            return
        for lane in self._lanes:
            lane.send(broadcast)
        for connection in self._others:
            connection.send(broadcast)

    def _send_and_sort(self, broadcast: Broadcast) -> None:
        """Send to each connection itself, and remember those with an outlet."""
        lanes: dict[tuple[Form, Changes], Lane] = {}
        others = []
        for connection in self.connections:
            way = connection.send(broadcast)
            if way is None or not way.outlet.is_clear:
                others.append(connection)
                continue
            key = (way.form, way.outlet.changes)
            if key not in lanes:
                # What changes while this goes on shows next time, and sorts anew.
                lanes[key] = Lane(*key, way.outlet.changes.count)
            lanes[key].add(way.outlet)
        self._lanes, self._others = list(lanes.values()), others
