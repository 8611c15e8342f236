"""Chat rooms. A room is the topic `chat:{room}`; its messages are the topic's, its order the log's.

A message is published and a member subscribed like everybody else's, so what holds for topics
holds for rooms: stored first, one order for all, a replay that meets the present without gap or
duplicate, bounded buffers. Only who is here, and what the room says of it, lives in this package.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest

import msgspec

from ..bodies import draft_of
from ..broker import Answer, Broker
from ..errors import Forbidden
from ..history import History
from ..identity import Identity
from ..model import TopicPosition
from ..runtime import Runtime, guarded
from ..storage.database import Reader
from ..subscribing import Subscribing
from ..transport.connection import Broadcast, Connection
from ..transport.fanout import Way
from ..wire import ROOM_PREFIX, Subscribe, encode
from . import frames
from .company import Company
from .frames import Content, Said, Stored, User
from .member import Member
from .names import room_of, topic_of
from .news import NOTICES_A_SECOND, News
from .room import Room
from .translation import Translation

__all__ = ["Listed", "Member", "Rooms"]

LAST_MESSAGES = 50  # what a join without a sequence gets
MAX_HISTORY = 100
MAX_LISTED = 200
TYPING_PAUSE = 1.0


class Listed(msgspec.Struct, frozen=True):
    """A room as the list of rooms shows it; `users` are those who are there now."""

    room: str
    users: int
    sequence: int


class _JoinedTopic(msgspec.Struct, frozen=True):
    topic: str
    sequence: int
    replayed: int
    recovered: bool


class _Subscribed(msgspec.Struct, frozen=True):
    """What is read of the event `subscribed`."""

    topics: tuple[_JoinedTopic, ...]


class Rooms:
    """The use cases of the chat. Belongs to the event loop.

    `now` is the log's clock. A member that is not heard of for `offline_seconds` is offline.
    """

    def __init__(
        self,
        runtime: Runtime,
        now: Callable[[], float],
        broker: Broker,
        subscribing: Subscribing,
        history: History,
        *,
        heartbeat_seconds: float,
        offline_seconds: float,
    ) -> None:
        self._runtime = runtime
        self._now = now
        self._broker = broker
        self._subscribing = subscribing
        self._history = history
        self._heartbeat_seconds = heartbeat_seconds
        self._offline_seconds = offline_seconds
        self._rooms: dict[str, Room] = {}
        self._news: dict[str, News] = {}
        self._members: dict[str, Member] = {}
        self.company = Company(self._rooms, self._moved, self._typed, now)
        self._next_heartbeat = 0.0
        self._is_beating = False
        self._translation = Translation(self._stored)

    # Coming and going

    def connect(self, connection: Connection, identity: Identity, user: str) -> Member:
        """Let a connection into the chat, as a user; it is in no room yet."""
        member = Member(connection, identity, user, self._now(), self._deliver)
        self._members[member.connection_id] = member
        if not self._is_beating:
            self._is_beating = True
            self._next_heartbeat = self._now() + self._heartbeat_seconds
            self._runtime.spawn(self._beat)
        return member

    def join(
        self, member: Member, room: str, last_sequence: int | None, epoch: str | None = None
    ) -> None:
        """Bring a member into a room; returns when it has all that it missed and is live.

        It is sent who is there, that it came, the history behind a sequence (None: the last 50
        messages), and from there on what is said. Raises Forbidden, Invalid, Unavailable.
        """
        topic = topic_of(room)
        member.identity.check_subscribe(topic)
        if member.connection_id not in self._members:
            return
        self._broker.hub.add(member).consumer = member.user
        after = -LAST_MESSAGES if last_sequence is None else last_sequence
        request = Subscribe(None, (topic,), is_short=True, after=after, epoch=epoch)
        self._subscribing.subscribe(member.identity, member, request)

    def leave(self, member: Member, name: str) -> None:
        """Take a member out of a room. Raises Forbidden: it is not there."""
        room = self._room_with(member, name)
        self._subscribing.unsubscribe(member, (room.topic,))
        member.rooms.discard(name)
        self._left(room, member, is_lost=False)

    def narrow(self, member: Member) -> list[str]:
        """Take a member out of the rooms that its rights do not cover any more; which ones."""
        left = [
            name
            for name in sorted(member.rooms)
            if not member.identity.may_subscribe(self._rooms[name].topic)
        ]
        for name in left:
            self.leave(member, name)
        return left

    def disconnect(self, member: Member) -> list[str]:
        """Forget a connection that has ended; the rooms that it was in."""
        self._members.pop(member.connection_id, None)
        self._subscribing.disconnect(member)
        left, member.rooms = sorted(member.rooms), set()
        for name in left:
            self._left(self._rooms[name], member, is_lost=True)
        return left

    # Talking

    def say(
        self, member: Member, name: str, content: str, message_id: str | None, answer: Answer
    ) -> None:
        """Publish a message in a room; `answer` hears when it is stored. Raises Forbidden.

        Said again with the same id inside the deduplication window, it is stored once.
        """
        room = self._room_with(member, name)
        member.identity.check_publish(room.topic)
        member.typed_at.pop(name, None)  # what is typed from here on is news
        message = encode(Content(content))
        draft = draft_of(room.topic, message_id or uuid.uuid4().hex, message, member.user)
        self._broker.publish_soon(member.identity, draft, answer)

    def type(self, member: Member, name: str) -> None:
        """Tell the others that a member is typing, if they were not told just now."""
        room = self._room_with(member, name)
        now = self._now()
        if now >= member.typed_at.get(name, 0.0) + TYPING_PAUSE and self._may_type(room):
            member.typed_at[name] = now
            self._news[name].typing(member.user)
            self.company.typing(name, member.user)

    # Presence

    def hear(self, member: Member) -> None:
        """A member gave a sign of life."""
        member.heard_at = self._now()
        if member.is_shown_silent:
            member.is_shown_silent = False
            self._update(member)

    def set_away(self, member: Member, *, is_away: bool) -> None:
        if member.is_away != is_away:
            member.is_away = is_away
            self._update(member)

    def presence(self, identity: Identity, name: str) -> Sequence[User]:
        """Who is in a room. Raises Forbidden."""
        identity.check_subscribe(topic_of(name))
        room = self._rooms.get(name)
        return room.users() if room else self.company.users(name)

    def tick(self) -> None:
        """See who fell silent, and send the heartbeat when it is time."""
        now = self._now()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_seconds
            broadcast = frames.event("heartbeat", {"timestamp": now})
            for member in list(self._members.values()):
                member.tell(broadcast)
            self.company.changed()  # everybody was heard of since
        for member in self._members.values():
            member.is_shown_silent = now - member.heard_at >= self._offline_seconds
        for room in self._rooms.values():
            if room.update_all(now):
                self._news[room.name].presence.ask()
                self.company.changed()

    # Reading

    def history(
        self, identity: Identity, name: str, since: int | None, before: int | None, limit: int
    ) -> Sequence[Said]:
        """Messages of a room, oldest first: behind a sequence, or the last ones (before one)."""
        topic = topic_of(name)
        identity.check_subscribe(topic)
        limit = min(limit, MAX_HISTORY)
        if since is None:
            end = self._position(topic) + 1
            end = end if before is None else min(before, end)
            since, limit = max(0, end - 1 - limit), min(limit, max(0, end - 1))
        if not limit:
            return []
        page = self._history.page(identity, topic, since, limit)
        end = before if before is not None else page.sequence + 1
        return [frames.said(message) for message in page.messages if message.sequence < end]

    def list(self, identity: Identity) -> Sequence[Listed]:
        """The rooms that an identity may read, the liveliest first, 200 at most."""
        here = {room.name: room.sequence for room in self._rooms.values()}
        users = self.company.counts() | {
            room.name: room.user_count for room in self._rooms.values()
        }
        return self._broker.readers.read(lambda reader: _listed(reader, identity, users, here))

    def close(self) -> None:
        """Stop all that runs beside the members' own events."""
        self._members.clear()
        for news in self._news.values():
            news.stop()

    def _beat(self) -> None:
        """Look after the members, as long as there are some."""
        pause = min(self._heartbeat_seconds, self._offline_seconds / 4, 5.0)
        try:
            while self._members:
                self._runtime.sleep(pause)
                guarded(self.tick)
        finally:
            self._is_beating = False

    def _position(self, topic: str) -> int:
        def read(reader: Reader) -> TopicPosition:
            return reader.position(topic)

        return self._broker.readers.read(read).sequence

    # What the hub and a subscription deliver

    def _deliver(self, member: Member, broadcast: Broadcast) -> Way | None:
        if broadcast.event == "subscribed":
            self._entered(member, msgspec.json.decode(broadcast.payloads[0], type=_Subscribed))
            return None
        way = None
        for each in broadcast.form(self._translation.translate):
            if each.event == "history" and member.unrecovered:
                member.unrecovered.clear()
                member.tell(frames.unrecovered(each))
            else:
                way = member.tell(each)
        return way and Way(self._translation.form(way.form), way.outlet)

    def _stored(self, messages: Sequence[Stored]) -> None:
        for message in messages:
            room = self._rooms.get(room_of(message.topic))
            if room is not None:
                room.sequence = max(room.sequence, message.sequence)

    def _entered(self, member: Member, subscribed: _Subscribed) -> None:
        """The member is subscribed: show it the room, and the room it, before its history."""
        if member.connection_id not in self._members:
            return  # its connection ended meanwhile
        (joined,) = subscribed.topics
        room = self._open(room_of(joined.topic))
        room.sequence = max(room.sequence, joined.sequence)
        is_announced, known = False, room.presence_count
        if room.name not in member.rooms:
            member.rooms.add(room.name)
            is_announced = room.enter(member, self._now())
            self.company.changed()
        place = room.places[member]
        place.presence = room.presence_count
        member.tell(frames.presence(room.name, room.users()))
        if is_announced:
            notice = self._news[room.name].joined(member.user)
            member.tell(Broadcast("message", [notice]))
            place.notices = room.notice_count  # it has seen its own
        if room.presence_count != known:
            self._news[room.name].presence.ask()
        if not joined.replayed:
            member.tell(frames.history(room.name, [], recovered=joined.recovered))
        elif not joined.recovered:
            member.unrecovered.add(room.name)

    # What members hear of each other

    def _left(self, room: Room, member: Member, *, is_lost: bool) -> None:
        member.typed_at.pop(room.name, None)
        if room.leave(member, is_lost=is_lost) and room.places:
            self._news[room.name].left(member.user)
        if room.places:
            self._news[room.name].presence.ask()
        else:
            del self._rooms[room.name]
            self._news.pop(room.name).stop()
            self.company.closed(room)
        self.company.changed()

    def _moved(self, room: Room, joined: Sequence[str], left: Sequence[str]) -> None:
        """Users have come and gone on other nodes."""
        news = self._news[room.name]
        for user in left:
            news.left(user)
        for user in joined:
            news.joined(user)
        news.presence.ask()

    def _typed(self, name: str, user: str) -> None:
        room = self._rooms.get(name)
        if room is not None and self._may_type(room):
            self._news[name].typing(user)

    def _may_type(self, room: Room) -> bool:
        now = self._now()
        if now < room.typing_not_before:
            return False
        room.typing_not_before = now + len(room.places) / NOTICES_A_SECOND
        return True

    def _update(self, member: Member) -> None:
        """A member is not as it was: tell its rooms, if they see it."""
        for name in member.rooms:
            if self._rooms[name].update(member.user, self._now()):
                self._news[name].presence.ask()
        self.company.changed()

    def _open(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, topic_of(name), self._offline_seconds)
            self._news[name] = News(room, self._runtime, self._now)
            self.company.opened(room)
        return room

    def _room_with(self, member: Member, name: str) -> Room:
        if name not in member.rooms:
            raise Forbidden("Not subscribed to room")
        return self._rooms[name]


def _listed(
    reader: Reader, identity: Identity, users: Mapping[str, int], here: Mapping[str, int]
) -> Sequence[Listed]:
    """In a native thread, because rooms may be many; `here` are those of this node's members."""
    stored = {room_of(each.topic): each.sequence for each in reader.positions(ROOM_PREFIX + "*")}
    sequences = stored | {name: here.get(name, 0) for name in users if name not in stored}
    listed = (
        Listed(name, users.get(name, 0), sequence)
        for name, sequence in sequences.items()
        if identity.may_subscribe(ROOM_PREFIX + name)
    )
    return nsmallest(MAX_LISTED, listed, key=lambda each: (-each.users, -each.sequence))
