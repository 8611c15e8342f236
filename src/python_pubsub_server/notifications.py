"""Notifications: messages on `notifications:{user}`, read when their user's inbox confirmed them.

The inbox is a consumer, `{user}/inbox`. What it has confirmed (by the route for it, or `consumed`)
is read. The rest is unread, and comes first when the user connects.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from . import logs
from .bodies import draft_of, read_object
from .broker import Broker
from .bus.bus import Bus
from .channels import NOTIFICATIONS
from .errors import Invalid, NotFound
from .identity import Identity
from .model import Claim, Message
from .storage.database import Batch, Committed
from .subscribing import Subscribing
from .transport.connection import Broadcast, Connection
from .wire import MAX_NAME_LENGTH, Subscribe, check_name, check_topic, encode

INBOX = "/inbox"
READ = "notification:read"


class Wanted(msgspec.Struct, frozen=True):
    """A notification to be made; `data` is any JSON."""

    user_id: str
    title: str
    body: str = ""
    data: Raw = Raw(b"null")


class Notification(msgspec.Struct, frozen=True):
    """As its user sees it, and without `read` being true as it is stored and sent."""

    id: str
    user_id: str
    title: str
    body: str
    data: Raw
    created_at: float
    read: bool = False


class ReadMark(msgspec.Struct, frozen=True):
    """Tells the user's connections that a notification was read."""

    id: str
    user_id: str


class Notifications:
    """The use cases. `is_known` says of a name whether there is such a user."""

    def __init__(
        self,
        broker: Broker,
        subscribing: Subscribing,
        bus: Bus,
        log_id: str,
        is_known: Callable[[str], bool],
    ) -> None:
        self._broker = broker
        self._subscribing = subscribing
        self._bus = bus
        self._is_known = is_known
        self._channel = f"pubsub:{log_id}:read"
        bus.on_channel(self._channel, self._heard_read)

    def create(self, identity: Identity, wanted: Wanted) -> Notification:
        """Store and deliver a notification. Raises Forbidden, NotFound (an unknown user)."""
        topic = topic_of(wanted.user_id)
        identity.check_publish(topic)
        if not self._is_known(wanted.user_id):
            raise NotFound(f"There is no user {wanted.user_id!r}")
        made = Notification(
            uuid.uuid4().hex,
            wanted.user_id,
            wanted.title,
            wanted.body,
            wanted.data,
            self._broker.clock.now(),
        )
        self._broker.publish(identity, [draft_of(topic, made.id, encode(made), identity.producer)])
        return made

    def listed(
        self, user: str, limit: int, *, before: int | None, only_unread: bool
    ) -> list[tuple[int, Notification]]:
        """A user's notifications with their sequences, newest first, below sequence `before`."""
        topic = topic_of(user)
        found = self._broker.readers.read(
            lambda reader: reader.inbox(
                topic, inbox_of(user), limit, before=before, only_unread=only_unread
            )
        )
        return [
            (message.sequence, _shown(message, user, is_read=read_at is not None))
            for message, read_at in found
        ]

    def count_unread(self, user: str) -> int:
        topic = topic_of(user)
        return self._broker.readers.read(lambda r: r.count_unread(topic, inbox_of(user)))

    def mark_read(self, identity: Identity, user: str, notification_id: str) -> None:
        """Mark a user's notification as read; again does nothing. Raises NotFound."""
        claim = Claim(inbox_of(user), topic_of(user), check_name(notification_id, "id"))
        self._broker.consume(identity, claim)

    def welcome(self, identity: Identity, connection: Connection) -> None:
        """Join a user's connection to its notifications; the unread ones come first."""
        user = identity.subject
        if user is None or len(NOTIFICATIONS + user) > MAX_NAME_LENGTH:
            return
        wanted = Subscribe(
            None, (topic_of(user),), is_short=True, after="consumed", inbox=inbox_of(user)
        )
        self._subscribing.subscribe(identity, connection, wanted)

    def committed(self, batch: Batch, outcome: Committed) -> None:
        """Tell a user's connections, on every node, what was marked as read."""
        for claim, recorded in zip(batch.claims, outcome.claimed, strict=True):
            user = claim.topic.removeprefix(NOTIFICATIONS)
            if recorded and user != claim.topic and claim.consumer == inbox_of(user):
                self._bus.publish(self._channel, encode(ReadMark(claim.message_id, user)))

    def _heard_read(self, channel: str, payload: bytes) -> None:
        try:
            mark = msgspec.json.decode(payload, type=ReadMark)
        except msgspec.MsgspecError as error:
            logs.event(logging.WARNING, "read_mark_not_understood", reason=str(error))
            return
        self._broker.hub.tell(NOTIFICATIONS + mark.user_id, Broadcast(READ, [payload]))


def topic_of(user: str, field: str = "user_id") -> str:
    """Raises Invalid for what cannot be a user."""
    check_topic(check_name(user, field), field)
    return check_name(NOTIFICATIONS + user, field)


def inbox_of(user: str) -> str:
    return user + INBOX


def parse_wanted(body: bytes) -> Wanted:
    """`{user_id, title, body?, data?}`. Raises Invalid."""
    wanted = read_object(body, Wanted, "This is no notification: {error}")
    if not wanted.title.strip():
        raise Invalid("`title` must not be empty")
    return msgspec.structs.replace(wanted, data=wanted.data.copy())


def _shown(message: Message, user: str, *, is_read: bool) -> Notification:
    """A message as a notification, also where another program published something else."""
    content = bytes(message.message)
    try:
        stored = msgspec.json.decode(content, type=Notification)
    except msgspec.ValidationError:
        stored = None
    if stored is not None and stored.id == message.message_id:
        return msgspec.structs.replace(stored, user_id=user, read=is_read)
    said: Any = msgspec.json.decode(content)
    fields = said if isinstance(said, dict) else {"title": said}
    title, body = (
        text if isinstance(text, str) else "" for text in (fields.get("title"), fields.get("body"))
    )
    return Notification(
        message.message_id, user, title, body, Raw(content), message.timestamp, is_read
    )
