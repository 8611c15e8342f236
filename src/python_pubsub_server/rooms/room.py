"""Who is in a room, and how they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..elsewhere import Seat
from ..transport.connection import Broadcast
from .frames import User
from .member import Member

MAX_GONE = 200  # users that are shown as offline after their connection was lost
GONE_SECONDS = 3_600.0

ONLINE, AWAY, OFFLINE = "online", "away", "offline"
STATUSES = (ONLINE, AWAY, OFFLINE)  # of several connections, the first one counts


class Place:
    """A member's place in a room: up to where it has seen notices and presence."""

    __slots__ = ("notices", "presence")

    def __init__(self, notices: int, presence: int) -> None:
        self.notices = notices
        self.presence = presence


class Room:
    """The members of one room on this node, and the users that other nodes show in it.

    A user may be here by several connections, and on several nodes.
    """

    def __init__(self, name: str, topic: str, offline_seconds: float) -> None:
        self.name = name
        self.topic = topic
        self.sequence = 0
        self.places: dict[Member, Place] = {}
        self.notices: list[bytes] = []  # on their way to the members
        self.notice_count = 0  # all that there ever were
        self.presence_count = 0  # changes of who is here, and how
        self.typing_not_before = 0.0
        self.gone: dict[str, float] = {}
        self._members: dict[str, dict[Member, None]] = {}
        self._statuses: dict[str, str] = {}  # of all nodes' users, in the order of their coming
        self._elsewhere: Mapping[str, Seat] = {}
        self._is_cut_off = False
        self._offline_seconds = offline_seconds

    @property
    def user_count(self) -> int:
        return len(self._statuses)

    def enter(self, member: Member, now: float) -> bool:
        """Let a connection in; whether its user was not here before."""
        is_new = member.user not in self._statuses
        self._members.setdefault(member.user, {})[member] = None
        self.gone.pop(member.user, None)
        self.places[member] = Place(self.notice_count, self.presence_count)
        self.update(member.user, now)
        return is_new

    def leave(self, member: Member, *, is_lost: bool) -> bool:
        """Let a connection out; whether its user is not here any more, on no node.

        One whose connection was lost stays among the users, offline, for an hour.
        """
        del self.places[member]
        here = self._members[member.user]
        del here[member]
        if not here:
            del self._members[member.user]
        if here or self._is_elsewhere(member.user):
            self.update(member.user, member.heard_at)
            return False
        self._forget(member.user, member.heard_at if is_lost else None)
        return True

    def see(
        self, elsewhere: Mapping[str, Seat], lost: Collection[str], now: float, *, is_cut_off: bool
    ) -> tuple[list[str], list[str]]:
        """Take what the other nodes show; the users that came by it, and those that left.

        `lost` are users whose node is gone. Those whom a node that is cut off saw last are
        offline until it sees what has become of them.
        """
        before, self._elsewhere = self._elsewhere, elsewhere
        is_other, self._is_cut_off = self._is_cut_off != is_cut_off, is_cut_off
        changed = [u for u, seat in elsewhere.items() if is_other or before.get(u) != seat]
        joined, left = [], []
        for user in (*changed, *(before.keys() - elsewhere.keys())):
            if self._is_elsewhere(user):
                if user not in self._statuses:
                    joined.append(user)
                self.gone.pop(user, None)
            elif user in self._statuses and user not in self._members:
                left.append(user)
                self._forget(user, before[user].last_seen if user in lost else None)
                continue
            if user in self._statuses or self._is_elsewhere(user):
                self.update(user, now)
            else:
                self.presence_count += 1  # among those who were lost elsewhere
        return joined, left

    def seats(self, now: float) -> list[Seat]:
        """What other nodes see of this one's users, as they are here."""
        return [
            *(
                Seat(user, self._status_here(members, now), _last_heard(members), is_here=True)
                for user, members in self._members.items()
            ),
            *(Seat(user, OFFLINE, at, is_here=False) for user, at in self.gone.items()),
        ]

    def update(self, user: str, now: float) -> bool:
        """See how a user is; whether that changed."""
        status = self._status(user, now)
        if self._statuses.get(user) == status:
            return False
        self._statuses[user] = status
        self.presence_count += 1
        return True

    def update_all(self, now: float) -> bool:
        """See how everybody here is; whether anything changed."""
        changed = [user for user in self._members if self.update(user, now)]
        forgotten = [user for user, at in self.gone.items() if at < now - GONE_SECONDS]
        for user in forgotten:
            del self.gone[user]
            self.presence_count += 1
        return bool(changed or forgotten)

    def users(self) -> list[User]:
        """Those who are here, in the order in which they came, then those who were lost."""
        gone = {user: at for user, at in _gone(self._elsewhere).items() if user not in self.gone}
        return [
            *(User(user, status, self._last_seen(user)) for user, status in self._statuses.items()),
            *(
                User(user, OFFLINE, at)
                for user, at in (*self.gone.items(), *gone.items())
                if user not in self._statuses
            ),
        ]

    def broadcast(self, broadcast: Broadcast, *, but: str | None = None) -> None:
        """Send to every connection, but not to those of one user."""
        for member in list(self.places):
            if member.user != but:
                member.tell(broadcast)

    def _is_elsewhere(self, user: str) -> bool:
        seat = self._elsewhere.get(user)
        return seat is not None and seat.is_here

    def _forget(self, user: str, lost_at: float | None) -> None:
        del self._statuses[user]
        self.presence_count += 1
        if lost_at is not None:
            self.gone[user] = lost_at
            while len(self.gone) > MAX_GONE:
                del self.gone[next(iter(self.gone))]

    def _status(self, user: str, now: float) -> str:
        statuses = [OFFLINE]
        if user in self._members:
            statuses.append(self._status_here(self._members[user], now))
        if self._is_elsewhere(user) and not self._is_cut_off:
            statuses.append(self._elsewhere[user].status)
        return min(statuses, key=STATUSES.index)

    def _status_here(self, members: Collection[Member], now: float) -> str:
        heard = [member for member in members if now - member.heard_at < self._offline_seconds]
        if not heard:
            return OFFLINE
        return AWAY if all(member.is_away for member in heard) else ONLINE

    def _last_seen(self, user: str) -> float:
        here = _last_heard(self._members.get(user, ()))
        return max(here, self._elsewhere[user].last_seen if self._is_elsewhere(user) else 0.0)


def _last_heard(members: Collection[Member]) -> float:
    return max((member.heard_at for member in members), default=0.0)


def _gone(seats: Mapping[str, Seat]) -> dict[str, float]:
    return {user: seat.last_seen for user, seat in seats.items() if not seat.is_here}
