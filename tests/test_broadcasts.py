from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from python_pubsub_server.hub import Hub
from python_pubsub_server.model import Message
from python_pubsub_server.transport.broadcasts import live, passing, replayed
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.engineio.connection import Forms
from python_pubsub_server.transport.plain import wrapped, wrapped_whole


def message(topic: str, sequence: int, content: str = '{"a":1}') -> Message:
    return Message(topic, f"m{sequence}", Raw(content.encode()), "p", 5.0, sequence)


def whole(topic: str, sequence: int, **more: Any) -> dict[str, Any]:
    return {
        "topic": topic,
        "message_id": f"m{sequence}",
        "message": {"a": 1},
        "producer": "p",
        "timestamp": 5.0,
        "sequence": sequence,
        **more,
    }


def shown(broadcast: Broadcast) -> tuple[str, list[Any], list[Any]]:
    return (
        broadcast.event,
        [json.loads(each) for each in broadcast.payloads],
        [json.loads(each) for each in broadcast.whole],
    )


def test_an_own_event_carries_the_content_and_knows_the_message() -> None:
    sent = live("notification", [message("notifications:1", 1), message("notifications:1", 2)])
    assert shown(sent) == (
        "notification",
        [{"a": 1}, {"a": 1}],
        [whole("notifications:1", 1), whole("notifications:1", 2)],
    )


def test_what_is_replayed_says_so() -> None:
    topic = "resource:updates:1"
    ((sent, _),) = replayed([message(topic, 1), message(topic, 2)], 1, 1_000)
    assert shown(sent) == (
        "resource:update",
        [{"a": 1, "replayed": True}, {"a": 1}],
        [whole(topic, 1, replayed=True), whole(topic, 2)],
    )


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("{}", '{"replayed":true}'),
        ("{ }", '{"replayed":true}'),
        ('{"a":1 } ', '{"a":1,"replayed":true}'),
        ('{"replayed":0}', '{"replayed":0}'),
        ("[1]", "[1]"),
        ("null", "null"),
        ('"{}"', '"{}"'),
    ],
)
def test_the_mark_fits_into_any_content(content: str, sent: str) -> None:
    ((broadcast, _),) = replayed([message("suggestions:votes", 3, content)], 3, 1_000)
    assert broadcast.payloads == [sent.encode()]


def test_events_keep_the_order_of_the_messages() -> None:
    messages = [message("a", 1), message("suggestions:votes", 1), message("b", 1), message("c", 1)]
    pieces = replayed(messages, 0, 1_000)
    assert [(b.event, len(b.payloads)) for b, _ in pieces] == [
        ("message", 1),
        ("suggestion:vote", 1),
        ("message", 2),
    ]


@pytest.mark.parametrize("topic", ["t" * 200, "resource:updates:" + "t" * 183])
def test_a_piece_is_bounded_by_what_it_has_on_the_wire(topic: str) -> None:
    contents = ["1"] * 9 + [f'"{"x" * 2_000}"'] + ["1"]
    messages = [message(topic, number, content) for number, content in enumerate(contents, 1)]
    pieces = replayed(messages, 99, 2_000)
    sequences = [json.loads(text)["sequence"] for b, _ in pieces for text in b.whole]
    assert sequences == list(range(1, 12))
    for broadcast, size in pieces:
        assert size >= len(wrapped_whole(broadcast)) >= len(wrapped(broadcast))
        assert size <= 2_000 or len(broadcast.payloads) == 1
    assert [len(broadcast.payloads) for broadcast, _ in pieces] == [4, 4, 1, 1, 1]


def test_nothing_has_no_pieces() -> None:
    assert replayed([], 0, 1_000) == []


def test_what_only_passes_has_no_place_in_the_log() -> None:
    event, contents, messages = shown(passing("notifications:1", b'{"a":1}'))
    assert (event, contents) == ("notification", [{"a": 1}])
    assert messages[0].pop("timestamp") > 0
    assert messages == [
        {
            "topic": "notifications:1",
            "message_id": None,
            "message": {"a": 1},
            "producer": None,
            "sequence": None,
        }
    ]


def test_a_connection_has_contents_or_whole_messages() -> None:
    sent = live("notification", [message("notifications:1", 1)])
    assert b'{"type":"notification","data":{"a":1}}' in sent.form(wrapped)
    assert b'{"type":"notification","data":{"topic":"not' in sent.form(wrapped_whole)
    assert b'42["notification",{"a":1}]' in sent.form(Forms("/").frames)
    assert b'42["notification",{"topic":"not' in sent.form(Forms("/", is_whole=True).frames)
    (packet,) = sent.form(Forms("/", is_whole=True).packets)
    assert packet.data.startswith('2["notification",{"topic":"not')


class Listener:
    address = ""

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        self.events: list[tuple[str, int]] = []

    def send(self, broadcast: Broadcast) -> None:
        self.events.append((broadcast.event, len(broadcast.payloads)))


def test_the_hub_sends_each_topic_as_its_event_in_order() -> None:
    hub, listener = Hub(), Listener("1")
    subscriber = hub.add(listener)  # type: ignore[arg-type]
    hub.join(subscriber, "*", 0.0)
    hub.join(subscriber, "suggestions:votes", 0.0)
    hub.deliver([message("a", 1), message("suggestions:votes", 1), message("suggestions:votes", 2)])
    hub.deliver([message("notifications:1", 1), message("b", 1), message("c", 1)])
    assert listener.events == [
        ("message", 1),
        ("suggestion:vote", 2),
        ("notification", 1),
        ("message", 2),
    ]
    assert hub.deliveries == 6
    hub.tell("suggestions:votes", passing("suggestions:votes", b"1"))
    assert listener.events[4:] == [("suggestion:vote", 1)]
