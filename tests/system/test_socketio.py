"""The contract of the Socket.IO namespace `/`, over a real server and real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import socketio

from server import RunningServer
from system.clients import TIMEOUT, Client, InlineClient, RawClient

TRANSPORTS = {
    "websocket": ("websocket",),
    "polling": ("polling",),
    "upgraded": ("polling", "websocket"),
}


@pytest.fixture(params=TRANSPORTS)
def client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(server.url, TRANSPORTS[request.param]) as connected:
        yield connected


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return f"topic of {request.node.name}"


def draft(topic: str, number: int = 1, message: Any = None) -> dict[str, Any]:
    return {
        "topic": topic,
        "message_id": f"m-{number}",
        "message": number if message is None else message,
        "producer": "test",
    }


def claim(topic: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"consumer": "c", "topic": topic, "message_id": f"m-{number}", **more}


# Subscribing


def test_subscribed_says_where_each_topic_stands(client: Client, topic: str) -> None:
    for number in (1, 2, 3):
        client.call("publish", draft(topic, number))
    answer = client.subscribe(topic, f"{topic} (new)", consumer="me")
    epoch = answer.pop("epoch")
    assert len(epoch) == 36
    assert answer == {
        "status": "ok",
        "consumer": "me",
        "topics": [
            {"topic": topic, "sequence": 3, "first": 1, "replayed": 0, "recovered": True},
            {"topic": f"{topic} (new)", "sequence": 0, "first": 1, "replayed": 0,
             "recovered": True},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("form", ["string", "channel", "one topic"])
def test_short_forms_subscribe_to_one_topic(client: Client, topic: str, form: str) -> None:
    asked: Any = {"string": topic, "channel": {"channel": topic}}.get(
        form, {"consumer": "c", "topics": topic}
    )
    answer = client.call("subscribe", asked)
    assert answer["status"] == "ok"
    assert [each["topic"] for each in answer["topics"]] == [topic]
    assert client.next("subscribed") == answer
    client.call("publish", draft(topic))
    assert client.next("message")["topic"] == topic


def test_without_an_acknowledgement_the_event_alone_comes(client: Client, topic: str) -> None:
    client.emit("subscribe", {"consumer": "c", "topics": [topic]})
    assert client.next("subscribed")["status"] == "ok"
    client.emit("publish", draft(topic))
    assert client.next("message")["message"] == 1
    client.emit("unsubscribe", {"topics": [topic]})
    assert client.next("unsubscribed") == {"status": "ok", "topics": [topic]}


def test_messages_come_in_order_whatever_door_they_came_through(
    server: RunningServer, client: Client, topic: str
) -> None:
    client.subscribe(topic)
    with ThreadPoolExecutor(4) as pool:
        for number in range(60):
            pool.submit(server.publish, topic, number, message_id=f"http-{number}")
        for number in range(60):
            client.emit("publish", draft(topic, number))
    received = client.messages(120)
    assert [message["sequence"] for message in received] == list(range(1, 121))
    stored = server.get("/messages", topic=topic, limit=200)
    assert received == stored[::-1]


def test_a_message_is_delivered_as_it_was_stored(client: Client, topic: str) -> None:
    client.subscribe(topic)
    value = {"n": 123456789012345678901234567890, "t": "Grüße 🌱\u2028\u0000", "e": [None, "", {}]}
    answer = client.call("publish", draft(topic, message=value))
    message = client.next("message")
    assert message == {**draft(topic, message=value), **{
        name: answer[name] for name in ("sequence", "timestamp")
    }}  # fmt: skip


def test_each_message_comes_once_however_many_subscriptions_match(
    client: Client, topic: str
) -> None:
    client.subscribe("*", f"{topic}*", topic, topic)
    client.subscribe(f"{topic[:9]}*")
    for number in (1, 2, 3):
        client.call("publish", draft(topic, number))
    assert [message["message"] for message in client.messages(3)] == [1, 2, 3]
    client.call("unsubscribe", {"topics": ["*", topic]})
    client.next("unsubscribed")
    client.call("publish", draft(topic, 4))
    assert client.next("message")["message"] == 4
    client.call("unsubscribe")
    client.next("unsubscribed")
    client.assert_alive_and_silent()


def test_a_pattern_covers_its_prefix_and_topics_that_come_later(client: Client, topic: str) -> None:
    client.subscribe(f"{topic}:*")
    for name in (topic, f"{topic}:a", f"x{topic}:b", f"{topic}:c:d", f"{topic}:"):
        client.call("publish", draft(name))
    received = [message["topic"] for message in client.messages(3)]
    assert received == [f"{topic}:a", f"{topic}:c:d", f"{topic}:"]
    assert client.call("unsubscribe")["topics"] == [f"{topic}:*"]


def test_what_was_missed_comes_first_and_says_so(client: Client, topic: str) -> None:
    for number in range(1, 6):
        client.call("publish", draft(topic, number))
    answer = client.call("subscribe", {"consumer": "c", "topics": [topic], "after": 2})
    assert client.next("subscribed") == answer
    assert answer["topics"][0]["replayed"] == 3
    client.call("publish", draft(topic, 6))
    received = client.messages(4)
    assert [message["sequence"] for message in received] == [3, 4, 5, 6]
    assert [message.get("replayed", False) for message in received] == [True, True, True, False]


def test_a_named_consumer_gets_what_it_has_not_consumed(server: RunningServer, topic: str) -> None:
    consumer = f"consumer of {topic}"
    with Client(server.url) as first:
        first.subscribe(topic, consumer=consumer)
    for number in range(1, 6):
        server.publish(topic, number, message_id=f"m-{number}")
    with Client(server.url) as second:
        answer = second.call("consumed", claim(topic, 3) | {"consumer": consumer})
        assert answer["status"] == "ok"
        second.subscribe(topic, consumer=consumer, after="consumed")
        assert [message["message"] for message in second.messages(4)] == [1, 2, 4, 5]


def test_another_epoch_is_not_recovered(client: Client, topic: str) -> None:
    client.call("publish", draft(topic))
    answer = client.subscribe(topic, after=1, epoch="another log")
    assert answer["topics"][0]["recovered"] is False
    assert client.next("message")["replayed"] is True


def test_unsubscribe_ends_the_delivery(client: Client, topic: str) -> None:
    client.subscribe(topic, f"{topic} 2", f"{topic} 3", f"{topic} 4")
    for asked, left in (
        ({"topics": [topic]}, [topic]),
        (f"{topic} 2", [f"{topic} 2"]),
        ({"channel": f"{topic} 3"}, [f"{topic} 3"]),
        ({"topics": [topic, "never wanted"]}, []),
        ({}, [f"{topic} 4"]),
    ):
        answer = client.call("unsubscribe", asked)
        assert answer == {"status": "ok", "topics": left}
        assert client.next("unsubscribed") == answer
    for name in (topic, f"{topic} 2", f"{topic} 3", f"{topic} 4"):
        client.call("publish", draft(name))
    client.assert_alive_and_silent()


def test_clients_are_listed_until_they_leave(server: RunningServer, topic: str) -> None:
    def listed() -> list[tuple[str, str]]:
        rows = server.get("/clients")
        return [(row["consumer"], row["topic"]) for row in rows if row["topic"].startswith(topic)]

    with Client(server.url) as one, Client(server.url, ("polling",)) as other:
        one.subscribe(topic, consumer="one")
        other.subscribe(f"{topic}*", consumer="other")
        assert listed() == [("other", f"{topic}*"), ("one", topic)]
        one.sio.disconnect()
        server.until(lambda: listed() == [("other", f"{topic}*")])
    server.until(lambda: not listed())
    raw = RawClient(server.url)
    raw.send(f'421["subscribe",{json.dumps(topic)}]')
    raw.next()
    assert len(listed()) == 1
    raw.socket.sock.close()  # without a goodbye
    server.until(lambda: not listed())


# Publishing


def test_a_publish_is_acknowledged_with_its_place(client: Client, topic: str) -> None:
    first = client.call("publish", draft(topic, 1))
    assert set(first) == {"status", "sequence", "timestamp", "duplicate"}
    assert (first["status"], first["sequence"], first["duplicate"]) == ("ok", 1, False)
    assert client.call("publish", draft(topic, 1)) == {**first, "duplicate": True}
    assert client.call("publish", draft(topic, 2))["sequence"] == 2


def test_pipelined_publishes_are_stored_and_acknowledged_in_order(
    server: RunningServer, client: Client, topic: str
) -> None:
    answers: list[Any] = []
    for number in range(300):
        client.sio.emit("publish", draft(topic, number), callback=answers.append)
    assert client.call("publish", draft(topic, 300))["sequence"] == 301
    assert [answer["sequence"] for answer in answers] == list(range(1, 301))
    stored = server.get("/messages", topic=topic, limit=1_000)
    assert [row["message"] for row in stored] == list(range(300, -1, -1))


def test_a_poll_holds_no_more_than_python_clients_read(server: RunningServer, topic: str) -> None:
    url = server.url + "/socket.io/?EIO=4&transport=polling"
    sid = json.loads(server.http.get(url, timeout=30).text[1:])["sid"]
    url += f"&sid={sid}"
    for text in ("40", f'420["subscribe",{json.dumps(topic)}]'):
        assert server.http.post(url, data=text, timeout=30).status_code == 200
    items = [draft(topic, number) for number in range(50)]
    server.http.post(server.url + "/publish/batch", json=items, timeout=30)
    packets: list[str] = []
    while sum(packet.startswith('42["message"') for packet in packets) < 50:
        answer = server.http.get(url, timeout=30).text.split("\x1e")
        assert len(answer) <= 16
        packets += answer


# Consuming


def test_a_consumption_is_recorded_once(server: RunningServer, client: Client, topic: str) -> None:
    for number in (1, 2):
        client.call("publish", draft(topic, number))
    for asked in (
        claim(topic, 1, sequence=1),
        claim(topic, 1, sequence=1),
        claim(topic, 1),
        claim(topic, 2, message="ignored"),
        claim(topic, 2, sequence=None),
    ):
        assert client.call("consumed", asked)["status"] == "ok"
    rows = server.get("/consumptions", topic=topic)
    assert [(row["consumer"], row["message_id"], row["message"]) for row in rows] == [
        ("c", "m-2", 2),
        ("c", "m-1", 1),
    ]
    assert set(rows[0]) == {"consumer", "topic", "message_id", "message", "timestamp"}


def test_without_a_sequence_it_speaks_of_every_message_with_that_id(
    server: RunningServer, client: Client, topic: str
) -> None:
    for content in ("first run", "second run", "third run"):
        client.call("publish", draft(topic, 1, content))
    client.call("consumed", claim(topic, 1, sequence=2))
    assert len(server.get("/consumptions", topic=topic)) == 1
    client.call("consumed", claim(topic, 1))
    rows = server.get("/consumptions", topic=topic)
    assert sorted(row["message"] for row in rows) == ["first run", "second run", "third run"]


def test_what_is_not_there_cannot_be_consumed(
    server: RunningServer, client: Client, topic: str
) -> None:
    client.call("publish", draft(topic))
    for asked in (
        claim(topic, 2),
        claim(topic, 1, sequence=2),
        claim(f"{topic} 2", 1),
        claim(topic, 1, sequence=2**63 - 1),
    ):
        answer = client.call("consumed", asked)
        assert (answer["status"], answer["code"]) == ("error", "not_found")
    assert server.get("/consumptions", topic=topic) == []


# Errors

BAD: list[tuple[str, Any, str]] = [
    *(
        (event, argument, "invalid")
        for event in ("subscribe", "publish", "consumed")
        for argument in (None, 7, True, 1.5, [], ["a"], {}, "")
    ),
    ("subscribe", {"consumer": "c", "topics": []}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": [7]}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": {"a": 1}}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a*b"]}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["x" * 201]}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": [f"t{n}" for n in range(1_001)]}, "invalid"),
    ("subscribe", {"consumer": 7, "topics": ["a"]}, "invalid"),
    ("subscribe", {"consumer": "", "topics": ["a"]}, "invalid"),
    ("subscribe", {"topics": ["a"]}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "after": -1}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "after": "yesterday"}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "after": [1]}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "after": True}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "after": 10**30}, "invalid"),
    ("subscribe", {"consumer": "c", "topics": ["a"], "epoch": 7}, "invalid"),
    ("unsubscribe", 7, "invalid"),
    ("unsubscribe", {"topics": [7]}, "invalid"),
    ("publish", {**draft("bad"), "topic": "a*"}, "invalid"),
    ("publish", {**draft("bad"), "topic": "$sys"}, "invalid"),
    ("publish", {**draft("bad"), "topic": None}, "invalid"),
    ("publish", {**draft("bad"), "producer": ["p"]}, "invalid"),
    ("publish", {**draft("bad"), "message_id": ""}, "invalid"),
    ("publish", draft("bad", message="x" * 1_048_577), "too_large"),
    ("consumed", claim("bad") | {"sequence": "1"}, "invalid"),
    ("consumed", claim("bad") | {"sequence": 0}, "invalid"),
    ("consumed", claim("bad") | {"sequence": 1.5}, "invalid"),
    ("consumed", claim("bad") | {"sequence": 10**30}, "invalid"),
    ("no_such_event", {}, "not_found"),
    ("message", {}, "not_found"),
]


def test_every_bad_input_is_an_error_and_the_connection_lives(
    server: RunningServer, client: Client
) -> None:
    for event, argument, code in BAD:
        answer = client.call(event, argument)
        assert (answer["status"], answer["code"]) == ("error", code), (event, argument, answer)
        assert isinstance(answer["message"], str)
        client.emit(event, argument)
        error = client.next("error")
        assert (error["code"], error["event"]) == (code, event), error
        assert error["message"] == answer["message"]
    client.assert_alive_and_silent()
    assert server.get("/messages", topic="bad") == []


def test_binary_data_is_refused_and_the_connection_lives(client: Client) -> None:
    for event in ("publish", "subscribe", "no_such_event"):
        answer = client.call(event, {**draft("bad"), "message": b"\x00\xff"})
        assert (answer["status"], answer["code"]) == ("error", "invalid")
        client.emit(event, b"\x00")
        assert client.next("error")["code"] == "invalid"
    client.assert_alive_and_silent()


@pytest.mark.parametrize(
    "packet",
    [
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":NaN}]',
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":-Infinity}]',
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":"\\ud800"}]',
        '42["publish",{"topic":"bad","message_id":"\\udc00","producer":"p","message":1}]',
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":1,"message":2}]',
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":1e999}]',
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":'
        + "[" * 5_000 + "]" * 5_000 + "}]",
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":'
        + "9" * 5_000 + "}]",
        '42["publish",{"topic":"bad","message_id":"m","producer":"p","message":1},2]',
        '42["publish",{"topic":"bad"',
        '42["publish"',
        '42["subscribe",{"consumer":"c","topics":["a"]},"more"]',
        "42[]",
        "42{}",
        "42",
        "42[7,{}]",
        "42[null]",
        '42["connect",{}]',
        '42["disconnect"]',
        '42["$malformed","x"]',
        '42["$binary","x"]',
    ],
)  # fmt: skip
def test_what_no_library_would_send_is_an_error_and_the_connection_lives(
    server: RunningServer, packet: str
) -> None:
    with RawClient(server.url) as raw:
        raw.send(packet)
        error = raw.error()
        assert error["code"] in ("invalid", "not_found")
        assert isinstance(error["message"], str)
        assert "event" in error
        raw.send(packet.replace("42", "427", 1))
        answer = raw.next()
        assert answer.startswith("437["), answer
        assert json.loads(answer[3:])[0]["status"] == "error"
        raw.assert_alive()
    assert server.get("/messages", topic="bad") == []


def test_a_name_of_lone_surrogates_does_not_reach_the_log(client: Client) -> None:
    answer = client.call("publish", draft("bad", message="\ud800"))
    assert (answer["status"], answer["code"]) == ("error", "invalid")
    client.assert_alive_and_silent()


# Namespaces


def test_an_unknown_namespace_is_refused_and_leaves_the_others_alone(
    server: RunningServer, topic: str
) -> None:
    sio = InlineClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        sio.connect(server.url, namespaces=["/nowhere"], wait_timeout=TIMEOUT)
    sio.disconnect()
    with RawClient(server.url) as raw:
        raw.send("40/nowhere,")
        assert raw.next().startswith("44/nowhere,")
        raw.send('42/nowhere,["publish",{}]')
        raw.assert_alive()


def test_events_before_the_namespace_is_joined_change_nothing(
    server: RunningServer, topic: str
) -> None:
    with RawClient(server.url) as raw:
        raw.send("41")  # leaves it
        raw.send("420" + json.dumps(["publish", draft(topic)]))
        raw.send("40")
        while not raw.next().startswith("40{"):
            pass
        raw.assert_alive()
    assert server.get("/messages", topic=topic) == []


@pytest.mark.parametrize("transports", [("polling",), ("websocket",)])
def test_ten_thousand_missed_messages_come_in_order(
    server: RunningServer, transports: tuple[str, ...]
) -> None:
    topic = f"long-{transports[0]}"
    batch = [
        {"topic": topic, "message_id": f"m-{n}", "message": "x" * 200, "producer": "p"}
        for n in range(10_000)
    ]
    server.http.post(server.url + "/publish/batch", json=batch, timeout=60).raise_for_status()
    with Client(server.url, transports) as client:
        answer = client.subscribe(topic, after="beginning")
        assert answer["topics"][0]["replayed"] == 10_000
        assert [m["sequence"] for m in client.messages(10_000)] == list(range(1, 10_001))
