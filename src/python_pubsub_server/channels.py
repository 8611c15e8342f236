"""The topics whose messages go out as an event of their own, and what those events are called."""

from __future__ import annotations

from typing import Final

MESSAGE: Final = "message"
NOTIFICATIONS: Final = "notifications:"  # and the user
VOTES: Final = "suggestions:votes"
RESOURCES: Final = "resource:updates:"  # and the resource

EVENTS: Final = {VOTES: "suggestion:vote"}
EVENTS_BY_PREFIX: Final = {NOTIFICATIONS: "notification", RESOURCES: "resource:update"}


def event_of(topic: str) -> str:
    """The event as which a topic's messages are sent."""
    for prefix, event in EVENTS_BY_PREFIX.items():
        if topic.startswith(prefix):
            return event
    return EVENTS.get(topic, MESSAGE)
