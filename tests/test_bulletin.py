"""What is said on the cluster's channels, and whom it reaches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from connections import Someone
from python_pubsub_server.bulletin import Bulletin, Said, as_json, parse_said
from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.errors import Forbidden, Invalid, TooLarge
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import EVERYTHING, Identity, Rights
from python_pubsub_server.model import Message
from python_pubsub_server.transport.connection import Broadcast


class Client(Someone):
    """A connection with its identity, and what it was sent."""

    def __init__(self, name: str, rights: Rights = EVERYTHING) -> None:
        super().__init__(name)
        self.connection = self
        self.identity = Identity("127.0.0.1", name, rights)
        self.got: list[tuple[str, bytes]] = []

    def send(self, broadcast: Broadcast) -> None:
        self.got += [(broadcast.event, payload) for payload in broadcast.payloads]


class Stage:
    def __init__(self, *clients: Client) -> None:
        self.bus, self.hub = LocalBus(), Hub()
        self.bulletin = Bulletin(self.bus, self.hub)
        for client in clients:
            self.bulletin.join(client)

    def subscribe(self, client: Client, *topics: str) -> None:
        subscriber = self.hub.add(client)
        for topic in topics:
            self.hub.join(subscriber, topic, 1.0)


def said(channel: str, data: object) -> Said:
    return Said(channel, Raw(msgspec.json.encode(data)))


def test_what_a_program_says_reaches_who_may_hear_it() -> None:
    everybody, admin = Client("everybody"), Client("admin", Rights(admin=True))
    reader = Client("reader", Rights(subscribe=("cluster:*",)))
    user, narrow = Client("user", Rights()), Client("narrow", Rights(subscribe=("orders",)))
    stage = Stage(everybody, admin, reader, user, narrow)
    stage.bus.publish("cluster:alerts", b'{"a": 1}')
    assert everybody.got == admin.got == reader.got == [("redis_cluster_alerts", b'{"a": 1}')]
    assert user.got == narrow.got == []
    stage.bulletin.leave(admin)
    stage.bus.publish("cluster:health", b"2")
    assert len(admin.got) == 1
    assert everybody.got[1:] == [("redis_cluster_health", b"2")]


def test_rights_are_those_of_the_moment() -> None:
    client = Client("c", Rights())
    stage = Stage(client)
    client.identity = Identity("127.0.0.1", "c", Rights(subscribe=("cluster:*",)))
    stage.bus.publish("cluster:metrics", b"1")
    assert client.got == [("redis_cluster_metrics", b"1")]


@pytest.mark.parametrize(
    "payload",
    [b'{"a":', b"", b"NaN", b'{"a":1} x', b"\xff\xfe", b'"\xff"', b"[" * 5000, b"plain words"],
)
def test_what_is_no_json_comes_as_a_string(payload: bytes) -> None:
    shown: Any = msgspec.json.decode(as_json(payload))
    assert shown == payload.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "payload", [b'{"a": [1, "\xc3\xa9"]}', b"null", b'"x"', b"12345678901234567890123", b" [1]\n"]
)
def test_json_comes_as_it_is(payload: bytes) -> None:
    assert as_json(payload) == payload


def test_reports_come_only_to_who_asked_for_them_by_name() -> None:
    named, wide, all_of_them, silent = (Client(name) for name in ("a", "b", "c", "d"))
    stranger = Client("stranger")  # of another door: it has no such events
    stage = Stage(named, wide, all_of_them, silent)
    stage.subscribe(named, "cluster:metrics", "cluster:*")
    stage.subscribe(wide, "cluster:*")
    stage.subscribe(all_of_them, "*")
    stage.subscribe(stranger, "cluster:*")
    heard: list[tuple[str, bytes]] = []
    stage.bulletin.on_report = lambda channel, payload: heard.append((channel, payload))
    stage.bulletin.report("cluster:metrics", {"reported_by": "n1"})
    payload = b'{"reported_by":"n1"}'
    assert named.got == wide.got == [("redis_cluster_metrics", payload)]
    assert all_of_them.got == silent.got == stranger.got == []
    assert heard == [("cluster:metrics", payload)]


def test_what_is_stored_on_these_topics_comes_with_their_event() -> None:
    client = Client("c")
    stage = Stage(client)
    stage.bulletin.stored(
        [
            Message("orders", "1", Raw(b"1"), "p", 1.0, 1),
            Message("cluster:metrics", "2", Raw(b'{"b":2}'), "p", 1.0, 1),
        ]
    )
    assert client.got == [("redis_cluster_metrics", b'{"b":2}')]


def test_who_may_say_something() -> None:
    client = Client("c")
    stage = Stage(client)
    channel = "cluster:alerts"
    for rights in (Rights(admin=True), Rights(publish=("cluster:*",)), Rights(publish=(channel,))):
        stage.bulletin.publish(Identity("", "x", rights), said(channel, "hello"))
    assert client.got == [("redis_cluster_alerts", b'"hello"')] * 3
    for rights in (Rights(), Rights(publish=("cluster:metrics",)), Rights(subscribe=("*",))):
        with pytest.raises(Forbidden, match="cluster:alerts"):
            stage.bulletin.publish(Identity("", "x", rights), said(channel, "hello"))
    assert len(client.got) == 3


def test_what_can_be_said() -> None:
    assert parse_said(b'{"channel": "cluster:x", "data": {"a": null}}') == Said(
        "cluster:x", Raw(b'{"a": null}')
    )
    for body, reason in (
        (b'{"channel": "orders", "data": 1}', "must begin with"),
        (b'{"channel": "cluster:", "data": 1}', "must begin with"),
        (b'{"channel": "cluster:*", "data": 1}', "must begin with"),
        (b'{"channel": "cluster:a\\n", "data": 1}', "control characters"),
        (b'{"channel": "cluster:a"}', "data"),
        (b'{"data": 1}', "channel"),
        (b"[]", "channel"),
        (b'{"channel": "cluster:a", "data": {"a": 1, "a": 2}}', "twice"),
        (b"", "JSON"),
    ):
        with pytest.raises(Invalid, match=reason):
            parse_said(body)
    with pytest.raises(TooLarge):
        parse_said(b'{"channel": "cluster:a", "data": "%b"}' % (b"x" * 300_000))
