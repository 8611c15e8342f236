"""What the members of a room hear of each other: soon, and no more often than it costs."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ..runtime import Runtime
from ..transport.connection import Broadcast
from ..wire import SYSTEM_USER
from . import frames
from .frames import Said
from .pace import Pace
from .room import Room

MAX_PRESENCE_PAUSE = 5.0
NAMES_A_SECOND = 200_000  # users in lists of users, on their way to all members of a room
NOTICES_A_SECOND = 5_000  # sendings of "NAME joined the room"


class News:
    """Of one room. Belongs to the event loop; `now` is the log's clock."""

    def __init__(self, room: Room, runtime: Runtime, now: Callable[[], float]) -> None:
        self._room = room
        self._now = now
        self._notices = Pace(runtime, self._send_notices)
        self.presence = Pace(runtime, self._send_presence)

    def joined(self, user: str) -> bytes:
        """Say that a user came; the notice."""
        return self._announce(f"{user} joined the room")

    def left(self, user: str) -> None:
        self._announce(f"{user} left the room")

    def typing(self, user: str) -> None:
        """Tell the others, now or never."""
        told = frames.event("typing", {"room": self._room.name, "user": user})
        self._room.broadcast(told, but=user)

    def stop(self) -> None:
        self._notices.stop()
        self.presence.stop()

    def _announce(self, text: str) -> bytes:
        """Say something in the name of the server; it is not stored."""
        room = self._room
        said = Said(
            f"{SYSTEM_USER}-{uuid.uuid4().hex}",
            room.name,
            SYSTEM_USER,
            text,
            room.sequence,
            self._now(),
        )
        notice = frames.payload(said)
        room.notices.append(notice)
        room.notice_count += 1
        self._notices.ask()
        return notice

    def _send_notices(self) -> float:
        """Send what was announced to those who were there already when it was."""
        room = self._room
        notices, room.notices = room.notices, []
        first = room.notice_count - len(notices)
        broadcasts: dict[int, Broadcast] = {}
        for member, place in list(room.places.items()):
            seen = max(0, place.notices - first)
            place.notices = room.notice_count
            if seen < len(notices):
                if seen not in broadcasts:
                    broadcasts[seen] = Broadcast("message", notices[seen:])
                member.tell(broadcasts[seen])
        return len(room.places) / NOTICES_A_SECOND

    def _send_presence(self) -> float:
        """Send who is here to those who do not know yet."""
        room = self._room
        users = room.users()
        broadcast = frames.presence(room.name, users)
        for member, place in list(room.places.items()):
            if place.presence != room.presence_count:
                place.presence = room.presence_count
                member.tell(broadcast)
        return min(MAX_PRESENCE_PAUSE, len(users) * len(room.places) / NAMES_A_SECOND)
