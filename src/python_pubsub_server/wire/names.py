"""The rules for names: of topics, messages, producers and consumers."""

from __future__ import annotations

import unicodedata

from ..errors import Invalid

MAX_NAME_LENGTH = 200
ROOM_PREFIX = "chat:"  # of the topics that are chat rooms
SYSTEM_USER = "system"  # under whose name the server speaks in rooms


def check_name(name: str, field: str) -> str:
    """A topic's, producer's, consumer's or message's name: 1 to 200 printable characters."""
    if not name:
        raise Invalid(f"`{field}` must not be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise Invalid(f"`{field}` is {len(name)} characters long; send {MAX_NAME_LENGTH} at most")
    if not name.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in name):
        raise Invalid(f"`{field}` must not contain control characters: {name!r}")
    return name


def check_topic(topic: str, field: str) -> str:
    """A concrete topic that clients may name; the server's own begin with `$`."""
    if "*" in topic:
        raise Invalid(f"`{field}` must not contain `*`: {topic!r}; patterns are for subscribing")
    return topic


def check_subscription(topic: str) -> str:
    """A topic or a pattern: one `*`, at its end."""
    check_name(topic, "topics")
    if "*" in topic[:-1]:
        raise Invalid(f"`*` may only stand at the end of a pattern: {topic!r}")
    return topic


def is_system(name: str) -> bool:
    """Whether a name is, or would be read as, the one under which the server speaks in rooms."""
    return unicodedata.normalize("NFKC", name).casefold().strip() == SYSTEM_USER


def is_for_all(topic: str) -> bool:
    """Whether a topic (not empty) is one on which no rule says who may publish what."""
    return "*" not in topic and topic[0] != "$" and not topic.startswith(ROOM_PREFIX)
