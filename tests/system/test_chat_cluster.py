"""One chat on three real servers: everybody sees everybody, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redis_server import RedisServer
from server import RunningServer
from system.chatters import (
    Chatter,
    PlainChatter,
    SocketIOChatter,
    joined,
    next_notice,
    next_said,
    next_statuses,
)
from system.cluster import cluster

Come = Callable[..., Any]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
def come() -> Iterator[Come]:
    """Connects clients to a room, and ends them after the test."""
    here: list[Chatter] = []

    def come(kind: type[Any], server: RunningServer, user: str, **more: Any) -> Any:
        chatter = kind(server.url, user=user)
        here.append(chatter)
        joined(chatter, "hall", **more)
        return chatter

    yield come
    for chatter in here:
        chatter.close()


def until(chatter: Chatter, wanted: Callable[[str, Any], bool]) -> list[str]:
    """Wait for an event; the notices that came up to it."""
    notices = []
    while True:
        event, data = chatter.next()
        if event == "message" and data["user"] == "system":
            notices.append(data["content"])
        if wanted(event, data):
            return notices


def shows(**statuses: str) -> Callable[[str, Any], bool]:
    return lambda event, data: (
        event == "presence" and {each["user"]: each["status"] for each in data["users"]} == statuses
    )


def said(content: str) -> Callable[[str, Any], bool]:
    return lambda event, data: event == "message" and data["content"] == content


def say(chatter: Chatter, content: str) -> None:
    chatter.tell("message", data={"room": "hall", "content": content})


def test_users_on_three_nodes_share_a_room(tmp_path: Path, redis: RedisServer, come: Come) -> None:
    with cluster(tmp_path, redis, 3) as (one, two, three):
        ann = come(PlainChatter, one, "ann")
        ben = come(SocketIOChatter, two, "ben")
        assert next_notice(ann) == "ben joined the room"
        next_statuses(ann, {"ann": "online", "ben": "online"})
        next_statuses(ben, {"ann": "online", "ben": "online"})
        cid = come(PlainChatter, three, "cid")
        assert next_notice(ann) == "cid joined the room"
        assert next_notice(ben) == "cid joined the room"
        cid.tell("presence", room="hall")
        until(cid, shows(ann="online", ben="online", cid="online"))
        ben.tell("typing", room="hall")
        until(ann, lambda event, data: (event, data.get("user")) == ("typing", "ben"))
        until(cid, lambda event, data: (event, data.get("user")) == ("typing", "ben"))
        ben.tell("status", status="away")
        next_statuses(ann, {"ben": "away"})
        for number, chatter in enumerate((ann, ben, cid), 1):
            say(chatter, f"{number}")
            for each in (ann, ben, cid):
                heard = next_said(each)
                assert (heard["sequence"], heard["content"]) == (number, f"{number}")
        cid.tell("rooms")
        until(
            cid,
            lambda event, data: (
                event == "rooms" and data["rooms"] == [{"room": "hall", "users": 3, "sequence": 3}]
            ),
        )
        # A second tab of one user on another node: nobody is told, neither of its coming...
        tab = come(PlainChatter, three, "ben", last_seq=3)
        next_statuses(ann, {"ben": "online"})
        ben.tell("leave", room="hall")
        tab.tell("leave", room="hall")
        # ... nor of its going, but of the last one's.
        assert until(ann, shows(ann="online", cid="online")) == ["ben left the room"]


def test_who_is_on_a_node_that_is_killed_has_left_within_seconds(
    tmp_path: Path, redis: RedisServer, come: Come
) -> None:
    with cluster(tmp_path, redis, 3) as (one, two, three):
        ann, cid = come(PlainChatter, one, "ann"), come(SocketIOChatter, three, "cid")
        come(PlainChatter, two, "ben")
        come(SocketIOChatter, two, "dan")
        for each in (ann, cid):
            until(each, shows(ann="online", ben="online", cid="online", dan="online"))
        two.kill()
        dan = come(PlainChatter, one, "dan", last_seq=0)  # back before anybody noticed
        for each in (ann, cid):
            told = until(each, shows(ann="online", ben="offline", cid="online", dan="online"))
            say(ann, f"to {each.user}")
            told += until(each, said(f"to {each.user}"))
            assert told == ["ben left the room"]
        two.start()
        ben = come(PlainChatter, two, "ben", last_seq=0)
        for each in (ann, cid, dan):
            told = until(each, shows(ann="online", ben="online", cid="online", dan="online"))
            assert told[-1] == "ben joined the room"
        ben.tell("presence", room="hall")
        until(ben, shows(ann="online", ben="online", cid="online", dan="online"))


def test_nobody_leaves_because_redis_is_restarted(
    tmp_path: Path, redis: RedisServer, come: Come
) -> None:
    with cluster(tmp_path, redis) as (one, two):
        ann, ben = come(PlainChatter, one, "ann"), come(PlainChatter, two, "ben")
        for each in (ann, ben):
            until(each, shows(ann="online", ben="online"))
        redis.kill()
        for server in (one, two):
            server.until(lambda s=server: "bus_lost" in s.log)
        cid = come(PlainChatter, two, "cid")
        assert next_notice(ben) == "cid joined the room"
        say(cid, "is anybody there?")
        assert next_said(ann)["content"] == "is anybody there?"
        redis.start()
        # All that it held is lost; what the nodes show is back before anybody is missed.
        assert until(ann, shows(ann="online", ben="online", cid="online")) == [
            "cid joined the room"
        ]
        assert until(ben, shows(ann="online", ben="online", cid="online")) == []
        say(ann, "the end")
        assert until(ben, said("the end")) == []
