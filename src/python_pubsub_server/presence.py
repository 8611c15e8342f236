"""Who is there: the named consumers that are subscribed to a topic now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from .hub import Hub
from .identity import Identity

MAX_USERS = 10_000
ONLINE = "online"


class Present(msgspec.Struct, frozen=True):
    """One user, however many connections it has. `last_seen` is Unix time."""

    user: str
    status: str
    last_seen: float


class Presence:
    """The use case of asking who is there, on any node. Keeps nothing: others know."""

    def __init__(
        self,
        hub: Hub,
        now: Callable[[], float],
        elsewhere: Callable[[str], Iterable[str]] = lambda topic: (),
    ) -> None:
        self._hub = hub
        self._now = now
        self._elsewhere = elsewhere

    def of(self, identity: Identity, topic: str) -> Sequence[Present]:
        """Who is subscribed to a topic by a name, by itself or by a pattern, in order of names.

        Connections without a name are nobody in particular. Raises Forbidden.
        """
        identity.check_subscribe(topic)
        now = self._now()
        names = {each.consumer for each in self._hub.subscribers(topic) if each.is_named}
        names.update(self._elsewhere(topic))
        return [Present(name, ONLINE, now) for name in sorted(names)[:MAX_USERS]]
