"""What users and rooms may be called, and how users of one name are told apart."""

from __future__ import annotations

import hashlib
import uuid

from ..errors import Invalid
from ..wire import ROOM_PREFIX, SYSTEM_USER, check_name, check_topic, is_system

MARK = "#"
MAX_KEY_LENGTH = 200


def topic_of(room: str) -> str:
    """The topic of a room. Raises Invalid."""
    topic = ROOM_PREFIX + room
    if not room.strip():
        raise Invalid("`room` must not be empty")
    return check_topic(check_name(topic, "room"), "room")


def room_of(topic: str) -> str:
    return topic.removeprefix(ROOM_PREFIX)


def check_user(name: str) -> str:
    """A name that a client gave itself: 1 to 200 visible characters. Raises Invalid.

    `#` is the mark by which users of one name are told apart, so nobody may bring it along.
    """
    name = check_name(name.strip(), "user")
    if not name.isprintable():
        raise Invalid(f"`user` must not contain invisible characters: {name!r}")
    if MARK in name:
        raise Invalid(f"`user` must not contain `{MARK}`: {name!r}")
    if is_system(name):
        raise Invalid(f"Nobody but the server is called {SYSTEM_USER!r}")
    return name


def user_of(subject: str | None, name: str | None, key: str | None) -> str:
    """Who a connection is: its token's subject, the name it gave itself, or one that is made up.

    A key, which a client makes up once and keeps to itself, adds a mark to the name: the same one
    wherever and whenever that client connects, another one for everybody else.
    """
    if subject is not None:
        if is_system(subject):
            raise Invalid(f"Nobody but the server is called {SYSTEM_USER!r}")
        return subject
    if not name:
        return f"user_{uuid.uuid4().hex[:8]}"
    name = check_user(name)
    if not key:
        return name
    if len(key) > MAX_KEY_LENGTH:
        raise Invalid(f"`key` is {len(key)} characters long; send {MAX_KEY_LENGTH} at most")
    mark = hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()[:4]
    return check_name(f"{name}{MARK}{mark}", "user")
