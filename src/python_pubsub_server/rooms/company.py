"""Who is in the rooms on other nodes, and what they are told of the users here.

No node announces anything for another one. Each shows who is in its rooms, sees what the others
show, and tells its own members what changes by it; so every member hears of every coming and going
once, whichever node it is on, and whichever node dies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from .. import logs
from ..bus.bus import Bus
from ..elsewhere import Seat
from .frames import User
from .room import GONE_SECONDS, STATUSES, Room

Seats = Mapping[str, Sequence[Seat]]  # by room

MAX_SHOWN = 10_000  # seats of a node that the others see
MAX_CLOSED = 1_000  # rooms that are empty here, but not elsewhere


class Typing(msgspec.Struct, frozen=True, array_like=True):
    node_id: str
    room: str
    user: str


class Company:
    """Belongs to the event loop. `rooms` are those with members here, by name.

    `tell` hears what has changed in one of them: who has joined, and who has left.
    """

    def __init__(
        self,
        rooms: Mapping[str, Room],
        tell: Callable[[Room, Sequence[str], Sequence[str]], None],
        typed: Callable[[str, str], None],
        now: Callable[[], float],
    ) -> None:
        self.changes = 0  # of what this node shows
        self.on_change: Callable[[], None] = lambda: None
        self._rooms = rooms
        self._tell = tell
        self._typed = typed
        self._now = now
        self._closed: dict[str, dict[str, float]] = {}  # rooms: who was lost there
        self._of_nodes: Mapping[str, Seats] = {}
        self._is_acquainted = False  # the others were seen at all
        self._is_cut_off = False
        self._bus: Bus | None = None
        self._channel = self._node_id = ""

    def meet(self, bus: Bus, log_id: str, node_id: str) -> None:
        """Have others beside this node, if the bus can reach any. Before the bus is started."""
        if bus.is_shared:
            self._bus, self._node_id = bus, node_id
            self._channel = f"pubsub:{log_id}:typing"
            bus.on_channel(self._channel, self._heard)

    # What the others are shown

    def changed(self) -> None:
        """The users of this node's rooms are not as they were."""
        self.changes += 1
        self.on_change()

    def seats(self) -> dict[str, list[Seat]]:
        """Who is in the rooms of this node, by room."""
        now, room_left = self._now(), MAX_SHOWN
        shown: dict[str, list[Seat]] = {}
        for room in self._rooms.values():
            shown[room.name] = room.seats(now)[:room_left]
            room_left -= len(shown[room.name])
        for name, gone in self._closed.items():
            seats = [
                Seat(user, STATUSES[-1], at, is_here=False)
                for user, at in gone.items()
                if at >= now - GONE_SECONDS
            ]
            shown[name] = seats[:room_left]
            room_left -= len(shown[name])
        return shown

    def opened(self, room: Room) -> None:
        """A room has its first member here: it knows who is in it elsewhere, as if ever since."""
        room.gone.update(self._closed.pop(room.name, {}))
        self._show(room, set())

    def closed(self, room: Room) -> None:
        """The last member here is gone; others may still want to know whose connection was lost."""
        if room.gone and room.user_count and len(self._closed) < MAX_CLOSED:
            self._closed[room.name] = room.gone

    def typing(self, room: str, user: str) -> None:
        """Tell the other nodes that a user is typing, if anybody is in the room there."""
        if self._bus is not None and self._is_shared(room):
            typing = Typing(self._node_id, room, user)
            self._bus.publish(self._channel, msgspec.json.encode(typing))

    # What the others show

    def seen(self, of_nodes: Mapping[str, Seats]) -> None:
        """What each other node shows now; a node that is not among them is gone."""
        before, self._of_nodes = self._of_nodes, of_nodes
        changed = _changed(before, of_nodes)
        if self._is_cut_off:
            changed.update(self._rooms)
        self._is_cut_off = False
        lost = _users(seats for node, seats in before.items() if node not in of_nodes)
        for name in list(changed):
            room = self._rooms.get(name)
            if room is not None:
                self._look(room, lost.get(name, set()))
        self._closed = {name: gone for name, gone in self._closed.items() if self._is_shared(name)}
        self._is_acquainted = True

    def unseen(self) -> None:
        """The others cannot be seen; their users are offline until they can."""
        if not self._is_cut_off:
            self._is_cut_off = True
            for room in list(self._rooms.values()):
                self._look(room, set())

    def users(self, name: str) -> Sequence[User]:
        """The users of a room that nobody here is in."""
        room = Room(name, "", 0.0)
        room.gone.update(self._closed.get(name, {}))
        self._show(room, set())
        return room.users()

    def counts(self) -> dict[str, int]:
        """How many users are in each room elsewhere."""
        return {name: len(users) for name, users in _users(self._of_nodes.values()).items()}

    def _look(self, room: Room, lost: set[str]) -> None:
        count = room.presence_count
        joined, left = self._show(room, lost)
        if room.presence_count != count:
            known = self._is_acquainted
            self._tell(room, joined if known else (), left if known else ())

    def _show(self, room: Room, lost: set[str]) -> tuple[list[str], list[str]]:
        return room.see(self._of(room.name), lost, self._now(), is_cut_off=self._is_cut_off)

    def _of(self, name: str) -> dict[str, Seat]:
        """Everybody who is in a room elsewhere, or was lost there."""
        merged: dict[str, Seat] = {}
        for seats in self._of_nodes.values():
            for seat in seats.get(name, ()):
                known = merged.get(seat.user)
                merged[seat.user] = seat if known is None else _together(known, seat)
        return merged

    def _is_shared(self, name: str) -> bool:
        return any(
            seat.is_here for seats in self._of_nodes.values() for seat in seats.get(name, ())
        )

    def _heard(self, channel: str, payload: bytes) -> None:
        try:
            typing = msgspec.json.decode(payload, type=Typing)
        except msgspec.MsgspecError as error:
            logs.event(logging.WARNING, "typing_not_understood", reason=str(error))
            return
        if typing.node_id != self._node_id:
            self._typed(typing.room, typing.user)


def _changed(before: Mapping[str, Seats], after: Mapping[str, Seats]) -> set[str]:
    """The rooms of which a node shows something else than before."""
    found: set[str] = set()
    for node in before.keys() | after.keys():
        old, new = before.get(node, {}), after.get(node, {})
        if old is not new:
            found.update(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return found


def _users(of_nodes: Iterable[Seats]) -> dict[str, set[str]]:
    """Who is in which room."""
    found: dict[str, set[str]] = {}
    for rooms in of_nodes:
        for name, seats in rooms.items():
            found.setdefault(name, set()).update(seat.user for seat in seats if seat.is_here)
    return found


def _together(one: Seat, other: Seat) -> Seat:
    """One user as two nodes show it."""
    if one.is_here != other.is_here:
        return one if one.is_here else other
    status = min(one.status, other.status, key=STATUSES.index)
    return Seat(one.user, status, max(one.last_seen, other.last_seen), one.is_here)
