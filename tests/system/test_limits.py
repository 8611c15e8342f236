"""Each limit, met at each door: the documented refusal, its metric, and nobody else concerned."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from keys import AUDIENCE, Issuer
from server import RunningServer
from system.clients import Client
from system.doors import TIMEOUT, UPGRADE, bearer
from system.plain import PlainClient
from test_metrics import samples

ISSUER = Issuer()
ADMIN = ISSUER.admin()
RATE = 3


def token(user: str) -> str:
    return ISSUER.token(user, pubsub={"publish": ["*"], "subscribe": ["*"]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings: dict[str, Any] = {
        "jwt_public_key": ISSUER.public,
        "jwt_audience": AUDIENCE,
        "rate_publish": f"{RATE}/day",
        "rate_connect": "5/day",
        "topics_per_publisher": 2,
        "connections_per_address": 2,
        "trusted_proxies": "127.0.0.1",
    }
    with RunningServer(tmp_path_factory.mktemp("server"), **settings) as running:
        yield running


def limited(server: RunningServer, limit: str) -> float:
    """How often a limit was met so far."""
    response = server.http.get(server.url + "/metrics", headers=bearer(ADMIN), timeout=TIMEOUT)
    return samples(response.text).get(f"pubsub_limited_total{{limit={limit}}}", 0)


def request(
    server: RunningServer, method: str, path: str, headers: dict[str, str], body: Any = None
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        content = response.read().decode()
        told = json.loads(content) if content.startswith(("{", "[")) else content
        return response.status, dict(response.headers), told
    finally:
        connection.close()


def draft(user: str, topic: str = "limits", number: int = 1) -> dict[str, Any]:
    return {"topic": topic, "message_id": f"m{number}", "message": number, "producer": user}


# Publishing

Publish = Callable[[int], Any]


def by_http(server: RunningServer, user: str) -> Publish:
    def publish(number: int) -> Any:
        status, headers, told = request(
            server, "POST", "/publish", bearer(token(user)), draft(user, number=number)
        )
        if told["status"] == "error":
            assert status == 429
            assert int(headers["Retry-After"]) > 0
        return told

    return publish


def by_batch(server: RunningServer, user: str) -> Publish:
    def publish(number: int) -> Any:
        body = [draft(user, number=number)]
        status, headers, told = request(server, "POST", "/publish/batch", bearer(token(user)), body)
        assert (status == 429) is ("Retry-After" in headers)
        return told

    return publish


@pytest.mark.parametrize("publish_by", [by_http, by_batch])
def test_publishes_over_http(
    server: RunningServer, publish_by: Callable[[RunningServer, str], Publish]
) -> None:
    user = publish_by.__name__
    before = limited(server, "publish_rate")
    publish = publish_by(server, user)
    assert [publish(n)["status"] for n in range(RATE)] == ["ok"] * RATE
    assert publish(RATE)["code"] == "rate_limited"
    assert publish_by(server, f"{user}-2")(1)["status"] == "ok"
    assert limited(server, "publish_rate") == before + 1


def test_a_batch_counts_each_of_its_messages(server: RunningServer) -> None:
    headers = bearer(token("batcher"))
    for count, status in ((RATE + 1, 429), (RATE, 200), (1, 429)):
        body = [draft("batcher", number=n) for n in range(count)]
        assert request(server, "POST", "/publish/batch", headers, body)[0] == status


def test_publishes_over_socketio(server: RunningServer) -> None:
    with Client(server.url, auth={"token": token("sio")}) as client:
        for number in range(RATE):
            assert client.call("publish", draft("sio", number=number))["status"] == "ok"
        told = client.call("publish", draft("sio", number=RATE))
        assert (told["status"], told["code"]) == ("error", "rate_limited")
        assert client.call("history", {"topic": "limits", "limit": 1})["status"] == "ok"


def test_publishes_over_a_plain_websocket(server: RunningServer) -> None:
    with PlainClient(server.url, additional_headers=bearer(token("plain"))) as client:
        for number in range(RATE):
            assert client.call("publish", **draft("plain", number=number))["status"] == "ok"
        told = client.call("publish", **draft("plain", number=RATE))
        assert (told["status"], told["code"]) == ("error", "rate_limited")
        client.send({"type": "publish", **draft("plain", number=RATE)})
        assert client.error()["code"] == "rate_limited"


def test_what_is_said_in_rooms(server: RunningServer) -> None:
    with PlainClient(server.url, "/chat/ws", additional_headers=bearer(token("chatty"))) as client:
        client.send({"type": "join", "room": "limits"})
        for number in range(RATE + 1):
            said = {"room": "limits", "content": str(number)}
            client.send({"type": "message", "data": said})
        kinds: list[str] = []
        while "error" not in kinds:
            frame = client.next()
            kinds.append(frame["type"])
        assert "More messages" in frame["data"]["message"]


def test_new_topics(server: RunningServer) -> None:
    def publish(topic: str) -> Any:
        return request(
            server, "POST", "/publish", bearer(token("founder")), draft("founder", topic)
        )[2]

    assert publish("founded-1")["status"] == "ok"
    assert publish("founded-2")["status"] == "ok"
    before = limited(server, "topics")
    told = publish("founded-3")
    assert told["code"] == "rate_limited"
    assert "2 topics" in told["message"]
    assert limited(server, "topics") == before + 1
    # One that is there can be gone on with; the first attempt has it looked up.
    server.until(lambda: publish("founded-1")["status"] == "ok")


# Connecting


def events(server: RunningServer, headers: dict[str, str]) -> int:
    """Begin a stream and leave it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    connection.request("GET", "/topics/limits/events", headers=headers)
    response = connection.getresponse()
    if response.status == 429:
        assert json.loads(response.read())["code"] == "rate_limited"
        assert int(response.headers["Retry-After"]) > 0
    connection.close()
    response.close()
    return response.status


def handshake(path: str) -> Callable[[RunningServer, dict[str, str]], int]:
    def connect(server: RunningServer, headers: dict[str, str]) -> int:
        try:
            with PlainClient(server.url, path, additional_headers=headers):
                return 200
        except InvalidStatus as refused:
            told = json.loads(bytes(refused.response.body))
            assert told["code"] == "rate_limited"
            assert int(refused.response.headers["Retry-After"]) > 0
            return refused.response.status_code

    return connect


def polling(server: RunningServer, headers: dict[str, str]) -> int:
    return request(server, "GET", "/socket.io/?EIO=4&transport=polling", headers)[0]


@pytest.mark.parametrize(
    ("number", "connect"),
    list(
        enumerate(
            (
                events,
                handshake("/ws"),
                handshake("/chat/ws"),
                handshake("/socket.io/?EIO=4&transport=websocket"),
                polling,
            ),
            start=1,
        )
    ),
    ids=("events", "/ws", "/chat/ws", "Socket.IO", "Socket.IO by polling"),
)
def test_connections_from_one_address(
    server: RunningServer, number: int, connect: Callable[[RunningServer, dict[str, str]], int]
) -> None:
    before = limited(server, "connect_rate")
    headers = {"X-Forwarded-For": f"10.1.0.{number}"}
    for attempt in range(5):
        good = bearer(token(f"comer-{number}-{attempt}"))
        assert connect(server, headers | good) == 200
    assert connect(server, headers | bearer(token(f"comer-{number}-6"))) == 429
    other = {"X-Forwarded-For": f"10.2.0.{number}"}
    assert connect(server, other | bearer(token(f"comer-{number}-6"))) == 200
    assert limited(server, "connect_rate") == before + 1


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (1, "/socket.io/?EIO=4&transport=polling&xsid=1"),
        (2, "/socket.io/?EIO=4&transport=polling&sid="),
        (3, "/socket.io/x?EIO=4&transport=polling"),
    ],
)
def test_no_spelling_gets_around_the_rate(server: RunningServer, number: int, path: str) -> None:
    headers = {"X-Forwarded-For": f"10.9.0.{number}"}
    statuses = [request(server, "GET", path, headers)[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]


def test_connections_of_one_user_from_anywhere(server: RunningServer) -> None:
    def connect(number: int) -> int:
        headers = {"X-Forwarded-For": f"10.3.0.{number}"} | bearer(token("traveller"))
        return handshake("/ws")(server, headers)

    assert [connect(number) for number in range(6)] == [200] * 5 + [429]


def test_namespaces_that_one_user_joins(server: RunningServer) -> None:
    def join(number: int) -> str:
        headers = {"X-Forwarded-For": f"10.4.0.{number}"}
        path = "/socket.io/?EIO=4&transport=websocket"
        with PlainClient(server.url, path, additional_headers=headers) as client:
            client.send_text("40" + json.dumps({"token": token("joiner")}))
            assert str(client.socket.recv(TIMEOUT)).startswith("0{")
            packet = str(client.socket.recv(TIMEOUT))
        return json.loads(packet[2:])["data"]["code"] if packet.startswith("44") else "ok"

    assert [join(number) for number in range(6)] == ["ok"] * 5 + ["rate_limited"]


def test_a_token_that_is_no_good_is_not_looked_at_too_often(server: RunningServer) -> None:
    def connect(headers: dict[str, str]) -> int:
        given = {"X-Forwarded-For": "10.5.0.1"} | UPGRADE | headers
        return request(server, "GET", "/ws", given)[0]

    assert [connect(bearer("a.b.c")) for _ in range(6)] == [401] * 5 + [429]


# Connections that are open


def stream(server: RunningServer, headers: dict[str, str]) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    connection.request("GET", "/topics/limits/events", headers=headers)
    response = connection.getresponse()
    assert response.status in (200, 429)
    if response.status == 429:
        told = json.loads(response.read())
        connection.close()
        raise AssertionError(told["code"])
    connection.close()  # the response has the socket
    return response.close


def websocket(path: str) -> Callable[[RunningServer, dict[str, str]], Callable[[], None]]:
    def hold(server: RunningServer, headers: dict[str, str]) -> Callable[[], None]:
        try:
            return PlainClient(server.url, path, additional_headers=headers).socket.close
        except InvalidStatus as refused:
            raise AssertionError(json.loads(bytes(refused.response.body))["code"]) from None

    return hold


@pytest.mark.parametrize(
    ("number", "hold"),
    [
        (1, stream),
        (2, websocket("/ws")),
        (3, websocket("/chat/ws")),
        (4, websocket("/socket.io/?EIO=4&transport=websocket")),
    ],
    ids=("events", "/ws", "/chat/ws", "Socket.IO"),
)
def test_connections_that_one_address_has_open(
    server: RunningServer,
    number: int,
    hold: Callable[[RunningServer, dict[str, str]], Callable[[], None]],
) -> None:
    headers = {"X-Forwarded-For": f"10.6.0.{number}"}
    before = limited(server, "connections")
    held = [hold(server, headers | bearer(token(f"holder-{number}-{each}"))) for each in range(2)]
    other = {"X-Forwarded-For": f"10.7.0.{number}"} | bearer(token(f"holder-{number}-3"))
    with pytest.raises(AssertionError, match="rate_limited"):
        hold(server, headers | bearer(token(f"holder-{number}-3")))
    assert limited(server, "connections") == before + 1
    hold(server, other)()
    for let_go in held:
        let_go()


def test_subscriptions_of_one_connection(server: RunningServer) -> None:
    before = limited(server, "subscriptions")
    headers = {"X-Forwarded-For": "10.8.0.1"} | bearer(token("subscriber"))
    with PlainClient(server.url, additional_headers=headers) as client:
        client.subscribe(*(f"s{n}" for n in range(1_000)), consumer="subscriber")
        told = client.call("subscribe", consumer="subscriber", topics=["one more"])
        assert (told["status"], told["code"]) == ("error", "invalid")
        client.call("unsubscribe", topics=["s1"])
        client.subscribe("one more", consumer="subscriber")
    assert limited(server, "subscriptions") == before + 1


@pytest.mark.parametrize(
    ("start", "status", "code", "limit"),
    [
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n", 414, "invalid", "target_bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * 70_000, 431, "invalid", "header_bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 101, 431, "invalid", "header_bytes"),
        (
            b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
            413,
            "too_large",
            "body_bytes",
        ),
    ],
    ids=("target", "header", "headers", "body"),
)
def test_sizes(server: RunningServer, start: bytes, status: int, code: str, limit: str) -> None:
    before = limited(server, limit)
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as client:
        client.sendall(start)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert int(head.split(b" ")[1]) == status
    assert (set(told), told["code"]) == ({"status", "code", "message"}, code)
    assert limited(server, limit) == before + 1


def test_who_may_not_come_in_sends_little(server: RunningServer) -> None:
    def status(headers: dict[str, str], size: int) -> int:
        body = draft("big", number=1) | {"message": "x" * size}
        return request(server, "POST", "/publish", headers, body)[0]

    assert status({}, 60_000) == 401
    assert status({}, 70_000) == 413
    assert status(bearer(token("big")), 70_000) == 200
