from __future__ import annotations

from itertools import count

import pytest

from connections import Someone
from python_pubsub_server.errors import Forbidden
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import Identity, Rights
from python_pubsub_server.presence import MAX_USERS, Presence

ANYBODY = Identity("127.0.0.1")
numbers = count(1)


class Town:
    def __init__(self) -> None:
        self.hub = Hub()
        self.presence = Presence(self.hub, lambda: 1000.5)

    def arrive(self, name: str | None, *topics: str) -> str:
        someone = Someone(f"connection-{next(numbers)}")
        subscriber = self.hub.add(someone)
        if name is not None:
            subscriber.consumer, subscriber.is_named = name, True
        for topic in topics:
            self.hub.join(subscriber, topic, 1.0)
        return someone.connection_id

    def names(self, topic: str, identity: Identity = ANYBODY) -> list[str]:
        return [each.user for each in self.presence.of(identity, topic)]


def test_who_is_subscribed_is_there_once_by_name() -> None:
    town = Town()
    town.arrive("bob", "a")
    tab = town.arrive("ann", "a", "a*", "*")
    other_tab = town.arrive("ann", "a")
    town.arrive("eve", "b")
    town.arrive(None, "a")
    assert town.names("a") == ["ann", "bob"]
    (ann, _) = town.presence.of(ANYBODY, "a")
    assert (ann.user, ann.status, ann.last_seen) == ("ann", "online", 1000.5)
    town.hub.disconnect(tab)
    assert town.names("a") == ["ann", "bob"]
    town.hub.disconnect(other_tab)
    assert town.names("a") == ["bob"]


def test_patterns_count() -> None:
    town = Town()
    town.arrive("ann", "room:*")
    town.arrive("bob", "*")
    assert town.names("room:1") == ["ann", "bob"]
    assert town.names("elsewhere") == ["bob"]
    assert town.names("$own") == []


def test_who_may_not_subscribe_may_not_ask() -> None:
    town = Town()
    town.arrive("ann", "room:1")
    guest = Identity("127.0.0.1", "guest", Rights(subscribe=("open:*",)))
    with pytest.raises(Forbidden):
        town.names("room:1", guest)
    assert town.names("open:1", guest) == []


def test_an_answer_is_bounded() -> None:
    town = Town()
    for number in range(MAX_USERS + 1):
        town.arrive(f"user-{number:06}", "a")
    assert len(town.names("a")) == MAX_USERS
