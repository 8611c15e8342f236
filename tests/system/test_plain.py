"""The events of `/` over the plain WebSocket `/ws`, by a real client on a real server."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server import RunningServer
from system.clients import Client
from system.plain import TIMEOUT, PlainClient
from system.test_fuzz import EVENTS, as_json, broken, requests, spoilt_drafts, values

bounded = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def draft(topic: str, number: int) -> dict[str, Any]:
    return {"topic": topic, "message_id": f"m{number}", "message": number, "producer": "p"}


def test_a_message_comes_as_a_frame(server: RunningServer) -> None:
    with PlainClient(server.url) as client:
        client.send({"type": "subscribe", "id": 1, "consumer": "c", "topics": ["frames"]})
        subscribed = client.next("subscribed")
        acknowledged = client.next("ack")
        assert acknowledged == {"type": "ack", "id": 1, **subscribed["data"]}
        assert subscribed["data"]["topics"] == [
            {"topic": "frames", "sequence": 0, "first": 1, "replayed": 0, "recovered": True}
        ]
        server.publish("frames", {"total": 12.5})
        message = client.next("message")
        (stored,) = server.get("/messages", topic="frames")
        assert message == {"type": "message", "data": stored}


def test_every_event_is_answered_as_over_socket_io(server: RunningServer) -> None:
    def told(client: Client | PlainClient, topic: str) -> list[Any]:
        def call(event: str, **fields: Any) -> Any:
            if isinstance(client, Client):
                return client.call(event, fields)
            return client.call(event, **fields)

        answers = [
            call("subscribe", consumer="c", topics=[topic]),
            call("publish", **draft(topic, 1)),
            call("publish", **draft(topic, 1)),
            call("publish", topic=topic),
            call("consumed", consumer="c", topic=topic, message_id="m1"),
            call("consumed", consumer="c", topic=topic, message_id="nothing"),
            call("history", topic=topic),
            call("presence", topic=topic),
            call("presence"),
            call("unsubscribe", topics=[topic, "other"]),
            call("presence", topic=topic),
            call("dance"),
        ]
        return json.loads(json.dumps(answers).replace(topic, "TOPIC"), parse_float=lambda _: 0)  # type: ignore[no-any-return]

    with Client(server.url) as one, PlainClient(server.url) as other:
        expected = told(one, "by-socket-io")
        assert [answer["status"] for answer in expected] == [
            *("ok", "ok", "ok", "error", "ok", "error", "ok"),
            *("ok", "error", "ok", "ok", "error"),
        ]
        assert expected[7]["users"] == [{"user": "c", "status": "online", "last_seen": 0}]
        assert expected[10]["users"] == []
        assert told(other, "by-websocket") == expected


@pytest.mark.parametrize("ack_id", [7, "a-1", "", "é", -1, 10**30])
def test_the_id_comes_back_as_it_was(server: RunningServer, ack_id: object) -> None:
    with PlainClient(server.url) as client:
        client.send({"type": "unsubscribe", "id": ack_id})
        assert client.next("unsubscribed")["data"] == {"status": "ok", "topics": []}
        assert client.next() == {"type": "ack", "id": ack_id, "status": "ok", "topics": []}


@pytest.mark.parametrize("ack_id", [1.5, True, [1], {}, "x" * 201])
def test_an_id_that_cannot_be_one_is_refused(server: RunningServer, ack_id: object) -> None:
    with PlainClient(server.url) as client:
        client.send({"type": "unsubscribe", "id": ack_id})
        assert client.error()["code"] == "invalid"
        client.assert_alive_and_silent()


@pytest.mark.parametrize(
    ("text", "event", "code"),
    [
        ("", "$malformed", "invalid"),
        ("hello", "$malformed", "invalid"),
        ("{", "$malformed", "invalid"),
        ("[]", "$malformed", "invalid"),
        ("null", "$malformed", "invalid"),
        ('"subscribe"', "$malformed", "invalid"),
        ("{}", "$malformed", "invalid"),
        ('{"type": 1}', "$malformed", "invalid"),
        ('{"type": null}', "$malformed", "invalid"),
        ('{"type": "\\ud800"}', "$malformed", "invalid"),
        ('{"type": "x", "a": ' + "[" * 5_000 + "]" * 5_000 + "}", None, None),
        ('{"type": "subscribe", "type": "publish"}', "publish", "invalid"),
        ('{"type": "subscribe"}', "subscribe", "invalid"),
        ('{"type": "dance"}', "dance", "not_found"),
        ('{"type": "$malformed"}', "$malformed", "not_found"),
        ('{"type": "$binary"}', "$binary", "not_found"),
        (b'{"type": "unsubscribe"}', "$binary", "invalid"),
    ],
)
def test_what_is_wrong_is_an_error_and_the_connection_stays(
    server: RunningServer, text: str | bytes, event: str | None, code: str | None
) -> None:
    with PlainClient(server.url) as client:
        client.send_text(text)
        error = client.error()
        assert set(error) == {"status", "code", "message", "event"}
        if event is not None:
            assert (error["event"], error["code"]) == (event, code)
        client.assert_alive_and_silent()


def test_an_error_with_an_id_is_its_answer(server: RunningServer) -> None:
    with PlainClient(server.url) as client:
        for frame in ({"id": 4}, {"id": 4, "type": "dance"}, {"id": 4, "type": "publish"}):
            client.send(frame)
            answer = client.next("ack")
            assert (answer["id"], answer["status"]) == (4, "error")
            assert set(answer) == {"type", "id", "status", "code", "message"}


def test_ping_is_answered(server: RunningServer) -> None:
    with PlainClient(server.url) as client:
        client.send({"type": "ping"})
        assert client.next() == {"type": "pong"}
        assert client.call("ping") == {"status": "ok"}
        assert client.before == [{"type": "pong"}]
        assert client.socket.ping().wait(TIMEOUT)  # the protocol's own frame


def test_what_was_missed_is_replayed_before_what_is_new(server: RunningServer) -> None:
    for number in range(1, 1_201):
        if number % 400 == 1:
            items = [draft("missed", n) for n in range(number, number + 400)]
            server.http.post(server.url + "/publish/batch", json=items, timeout=30)
    with PlainClient(server.url) as client:
        answer = client.subscribe("missed", after=200)
        assert answer["topics"][0]["replayed"] == 1_000
        server.publish("missed", "new", message_id="new")
        got = [frame["data"] for frame in client.before[1:]] + client.messages(1)
        assert [message["sequence"] for message in got] == list(range(201, 1_202))
        assert [message.get("replayed", False) for message in got] == [True] * 1_000 + [False]


def test_messages_keep_their_order_under_load_on_both_kinds_of_door(server: RunningServer) -> None:
    def write(kind: str) -> None:
        with PlainClient(server.url) as writer:
            for number in range(500):
                writer.ask("publish", **draft("load", number) | {"producer": kind})
            told = [writer.next("ack") for _ in range(500)]
            assert [each["id"] for each in told] == list(range(1, 501))
            sequences = [each["sequence"] for each in told]
            assert sequences == sorted(sequences)

    with PlainClient(server.url) as plain, Client(server.url) as socketio:
        plain.subscribe("load")
        socketio.subscribe("load")
        writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(3)]
        for writer in writers:
            writer.start()
        expected = socketio.messages(1_500)
        assert plain.messages(1_500) == expected
        for writer in writers:
            writer.join(TIMEOUT)
        assert [each["sequence"] for each in expected] == list(range(1, 1_501))


def test_a_slow_reader_is_closed_and_resumes(tmp_path: Path) -> None:
    with RunningServer(tmp_path, outbound_bytes=200_000) as server:
        address = ("127.0.0.1", server.port)
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(address)
        with PlainClient(server.url, sock=narrow, max_queue=1) as lazy:
            lazy.subscribe("flood")
            count = 0
            while "closed_as_slow" not in server.log:
                count += 1
                server.publish("flood", "x" * 60_000, message_id=f"m{count}")
                assert count < 500
            with pytest.raises(ConnectionClosed):
                for _ in range(count + 1):
                    lazy.next("message")
        with PlainClient(server.url) as again:
            answer = again.subscribe("flood", after=count - 2)
            assert (answer["topics"][0]["replayed"], answer["topics"][0]["recovered"]) == (2, True)
        server.until(lambda: server.get("/clients") == [])


def test_a_frame_that_is_too_long_ends_the_connection(tmp_path: Path) -> None:
    with (
        RunningServer(tmp_path, max_message_bytes=2_000) as server,
        PlainClient(server.url) as client,
    ):
        answer = client.call("publish", **draft("t", 1) | {"message": "x" * 3_000})
        assert answer["code"] == "too_large"
        client.send_text("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_pages_of_other_origins_may_not_connect(tmp_path: Path) -> None:
    with RunningServer(tmp_path, cors_origins="http://listed.example") as server:
        for origin in (server.url, "http://listed.example"):
            with PlainClient(server.url, origin=origin) as client:
                client.assert_alive_and_silent()
        with pytest.raises(InvalidStatus) as refused:
            PlainClient(server.url, origin="http://evil.example")
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["code"] == "forbidden"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 400),
        ("HEAD", {}, 405),
        ("POST", {}, 405),
        ("GET", {"Upgrade": "websocket", "Connection": "Upgrade"}, 400),
    ],
)
def test_what_is_no_websocket_is_refused_in_json(
    server: RunningServer, method: str, headers: dict[str, str], status: int
) -> None:
    response = server.http.request(method, server.url + "/ws", headers=headers, timeout=20)
    assert response.status_code == status
    if method != "HEAD":
        assert response.json()["status"] == "error"
    if status == 405:
        assert response.headers["Allow"] == "GET"


def test_thousands_come_and_go_and_leave_nothing_behind(server: RunningServer) -> None:
    def visit(count: int) -> None:
        for number in range(count):
            client = PlainClient(server.url)
            client.send({"type": "subscribe", "channel": "visits"})
            client.next("subscribed")
            if number % 2:
                client.socket.close()
            else:  # gone without a goodbye
                client.socket.socket.close()
                with contextlib.suppress(OSError, ConnectionClosed):
                    client.socket.close()

    visitors = [threading.Thread(target=visit, args=(250,)) for _ in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(120)
    assert server.until(lambda: server.get("/api/health")["websocket_clients"] == 0)
    assert server.get("/clients") == []


def test_a_stop_says_goodbye(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        client = PlainClient(server.url)
        client.subscribe("t")
        assert server.stop() == 0
        with pytest.raises(ConnectionClosed) as closed:
            client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


frames = st.one_of(
    st.builds(
        lambda kind, fields, ack_id: as_json(fields | {"type": kind} | ack_id),
        st.sampled_from(EVENTS),
        spoilt_drafts() | requests,
        st.just({}) | values.map(lambda value: {"id": value}),
    ),
    values.map(as_json),
    broken,
    st.text(max_size=40),
).map(lambda text: text.encode("utf-8", "replace").decode())


@bounded
@given(frame=frames | st.binary(max_size=40))
def test_no_frame_ends_the_connection(server: RunningServer, frame: str | bytes) -> None:
    with PlainClient(server.url) as client:
        client.send_text(frame)
        assert client.call("unsubscribe")["status"] == "ok"
    assert "Traceback" not in server.log
