"""The HTTP contract, over a real server."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from server import RunningServer
from system.clients import Client

VALUES = (
    None,
    0,
    "",
    {},
    [],
    False,
    1.5,
    123456789012345678901234567890,
    -(2**63),
    'Grüße 🌱 \u2028 \u0000 \\ " / 日本語',
    {"nested": [{"deep": [None, True, {"": ""}]}]},
)


def draft(topic: str, message_id: str = "m-1", message: Any = "x", **more: Any) -> dict[str, Any]:
    return {
        "topic": topic, "message_id": message_id, "message": message, "producer": "test", **more
    }  # fmt: skip


def post(server: RunningServer, path: str, body: Any, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    headers = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    content = data.encode() if isinstance(data, str) else data
    return server.http.post(server.url + path, data=content, headers=headers, timeout=30)


def pages(server: RunningServer, path: str, **parameters: Any) -> Iterator[Any]:
    """Every row of a listing, by its links."""
    url = server.url + path
    while True:
        response = server.http.get(url, params=parameters, timeout=30)
        assert response.status_code == 200, response.text
        yield from response.json()
        if "next" not in response.links:
            return
        url, parameters = server.url + response.links["next"]["url"], {}


def assert_error(response: requests.Response, status: int, code: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert (body["status"], body["code"]) == ("error", code)
    assert set(body) == {"status", "code", "message"}
    assert "Traceback" not in body["message"]
    return str(body["message"])


# Publishing


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_any_json_value_comes_back_equal(server: RunningServer, number: int) -> None:
    topic, value = f"values:{number}", VALUES[number]
    response = post(server, "/publish", draft(topic, message=value))
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    (stored,) = server.get("/messages", topic=topic)
    assert stored["message"] == value
    assert type(stored["message"]) is type(value)
    assert set(stored) == {"topic", "message_id", "message", "producer", "timestamp", "sequence"}


def test_a_representation_is_returned_to_who_prefers_it(server: RunningServer) -> None:
    bodies = [
        post(server, "/publish", draft("rep", f"m-{n}"), Prefer="return=representation").json()
        for n in (1, 2, 2)
    ]
    for body in bodies:
        assert set(body) == {
            "status", "topic", "message_id", "sequence", "timestamp", "epoch", "duplicate"
        }  # fmt: skip
    assert [body["sequence"] for body in bodies] == [1, 2, 2]
    assert [body["duplicate"] for body in bodies] == [False, False, True]
    assert bodies[1]["timestamp"] == bodies[2]["timestamp"]
    assert len({body["epoch"] for body in bodies}) == 1


def test_a_retry_is_stored_once_and_another_content_is_another_message(
    server: RunningServer,
) -> None:
    assert post(server, "/publish", draft("dup", message={"a": 1, "b": 2})).json() == {
        "status": "ok"
    }
    again = '{"producer":"test","message": {"b":2, "a":1},"message_id":"m-1","topic":"dup"}'
    assert post(server, "/publish", again).json() == {"status": "ok", "duplicate": True}
    for other in (draft("dup", message={"a": 1}), draft("dup", message={"a": True, "b": 2})):
        assert post(server, "/publish", other).json() == {"status": "ok"}
    other_producer = draft("dup", message={"a": 1, "b": 2}, producer="other")
    assert post(server, "/publish", other_producer).json() == {"status": "ok"}
    assert len(server.get("/messages", topic="dup")) == 4


@pytest.mark.parametrize("ndjson", [False, True])
def test_a_batch_is_stored_in_order(server: RunningServer, ndjson: bool) -> None:
    topic = f"batch:{ndjson}"
    items = [draft(topic, f"m-{n % 900}", n % 900) for n in range(1_000)]
    if ndjson:
        body = "\r\n".join(map(json.dumps, items)) + "\n\n"
        response = post(server, "/publish/batch", body, Content_Type="application/x-ndjson")
    else:
        response = post(server, "/publish/batch", items)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "status": "ok",
        "results": [
            {
                "message_id": f"m-{n % 900}",
                "topic": topic,
                "sequence": n % 900 + 1,
                "duplicate": n >= 900,
            }
            for n in range(1_000)
        ],
    }
    stored = list(pages(server, "/messages", topic=topic, limit=250))
    assert [row["message"] for row in stored] == list(range(899, -1, -1))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"topic": "all", "message_id": "m", "message": 1}, "Missing required field: producer"),
        ("no object", "object"),
        (draft("all*"), "`topic`"),
        (draft("all", message_id=7), "`message_id`"),  # type: ignore[arg-type]
    ],
)
def test_one_bad_item_stores_none(server: RunningServer, bad: Any, why: str) -> None:
    items = [draft("all", f"m-{n}") for n in range(5)]
    for body, kind in (
        (json.dumps([*items, bad, *items]), "application/json"),
        ("\n".join(map(json.dumps, [*items, bad, *items])), "application/x-ndjson"),
    ):
        response = post(server, "/publish/batch", body, Content_Type=kind)
        message = assert_error(response, 400, "invalid")
        assert "5" in message
        assert why in message
    assert server.get("/messages", topic="all") == []


@pytest.mark.parametrize(
    ("body", "status"), [("[]", 400), ("{}", 400), ("[1", 400), ("null", 400), ("", 400)]
)
def test_a_batch_that_is_none_is_refused(server: RunningServer, body: str, status: int) -> None:
    assert post(server, "/publish/batch", body).status_code == status


def test_a_batch_has_an_end(server: RunningServer) -> None:
    response = post(server, "/publish/batch", [draft("end", f"{n}") for n in range(10_001)])
    assert_error(response, 413, "too_large")
    assert server.get("/messages", topic="end") == []


# Errors


@pytest.mark.parametrize("field", ["topic", "message_id", "message", "producer"])
def test_a_missing_field_is_named(server: RunningServer, field: str) -> None:
    body = draft("missing")
    del body[field]
    message = assert_error(post(server, "/publish", body), 400, "invalid")
    assert message == f"Missing required field: {field}"


BAD_NAMES = ("", "x" * 201, "a\nb", "a\u0000b", 7, None, ["a"], {"a": 1}, True)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["topic", "message_id", "producer"])
def test_a_bad_name_is_refused(server: RunningServer, field: str, name: Any) -> None:
    response = post(server, "/publish", draft("names") | {field: name})
    assert f"`{field}`" in assert_error(response, 400, "invalid")


@pytest.mark.parametrize("topic", ["*", "a*", "a*b", "$own"])
def test_a_topic_that_clients_may_not_name_is_refused(server: RunningServer, topic: str) -> None:
    assert_error(post(server, "/publish", draft(topic)), 400, "invalid")


@pytest.mark.parametrize("name", ["x" * 200, "ü" * 200, "a b/c?d#e%20", "🌱", "..", "' OR 1=1 --"])
def test_every_other_name_is_taken_as_it_is(server: RunningServer, name: str) -> None:
    assert post(server, "/publish", draft(name, name, producer=name)).json() == {"status": "ok"}
    (stored,) = server.get("/messages", topic=name, producer=name)
    assert (stored["topic"], stored["message_id"], stored["producer"]) == (name, name, name)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"\xff", b'{"topic": NaN}',
        b'{"topic":"a","message_id":"b","message":"\\ud800","producer":"c"}',
        b'{"topic":"a","message_id":"b","message":Infinity,"producer":"c"}',
        b'{"topic":"a","message_id":"b","message":1,"message":2,"producer":"c"}',
        b'{"topic":"a","message_id":"b","message":' + b"[" * 5_000 + b"]" * 5_000
        + b',"producer":"c"}',
    ],
)  # fmt: skip
def test_malformed_json_is_an_error_in_json(server: RunningServer, body: bytes) -> None:
    assert_error(post(server, "/publish", body), 400, "invalid")


def test_a_message_that_is_too_large_is_refused(server: RunningServer) -> None:
    shell = len(json.dumps(draft("large", message="")))
    largest = draft("large", message="x" * (1_048_576 - shell))
    assert post(server, "/publish", largest).json() == {"status": "ok"}
    too_large = draft("large", message="x" * (1_048_577 - shell))
    message = assert_error(post(server, "/publish", too_large), 413, "too_large")
    assert "1048576" in message
    assert len(server.get("/messages", topic="large")) == 1


def test_another_content_type_is_refused(server: RunningServer) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = post(server, "/publish", draft("media"), Content_Type=kind)
        assert_error(response, 415, "unsupported_media_type")
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        response = post(server, "/publish", draft("media", kind), Content_Type=kind)
        assert response.status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/publish/x", "/messages/7", "/%00", "/%2e%2e/etc", "/%ff"]
)
def test_an_unknown_route_is_an_error_in_json(server: RunningServer, path: str) -> None:
    assert_error(server.http.get(server.url + path, timeout=30), 404, "not_found")


def test_another_method_is_an_error_in_json(server: RunningServer) -> None:
    for method, path, allowed in (
        ("GET", "/publish", "POST"),
        ("DELETE", "/messages", "GET"),
        ("PUT", "/clients", "GET"),
    ):
        response = server.http.request(method, server.url + path, timeout=30)
        assert_error(response, 405, "method_not_allowed")
        assert allowed in response.headers["Allow"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=1.5", "before=0", "before=x", "topic=", "colour=red",
     "limit=1&limit=2", "topic=%ff", "q=" + "x" * 501, "limit=" + "9" * 400, "producer=%00"],
)  # fmt: skip
def test_a_wrong_parameter_is_refused(server: RunningServer, query: str) -> None:
    response = server.http.get(f"{server.url}/messages?{query}", timeout=30)
    assert_error(response, 400, "invalid")


# Monitoring


def test_monitoring_routes_agree_with_each_other(server: RunningServer) -> None:
    counts = {("agree:a", "p"): 7, ("agree:a", "q"): 3, ("agree:b", "p"): 5}
    for (topic, producer), count in counts.items():
        items = [draft(topic, f"{producer}-{n}", n, producer=producer) for n in range(count)]
        assert post(server, "/publish/batch", items).status_code == 200
    with Client(server.url) as one, Client(server.url) as other:
        one.subscribe("agree:a", consumer="one")
        other.subscribe("agree:*", consumer="other")
        for sequence in (2, 4):
            row = server.get("/messages", topic="agree:a", limit=1_000)[-sequence]
            claim = {"consumer": "one", **{k: row[k] for k in ("topic", "message_id", "sequence")}}
            assert one.call("consumed", claim)["status"] == "ok"
        topics = {t["topic"]: t for t in server.get("/topics") if t["topic"].startswith("agree:")}
        graph = server.get("/graph/state")
        clients = [c for c in server.get("/clients") if c["topic"].startswith("agree:")]
    rows = [m for m in pages(server, "/messages", limit=1_000) if m["topic"].startswith("agree:")]
    assert Counter((row["topic"], row["producer"]) for row in rows) == counts
    assert {name: topic["messages"] for name, topic in topics.items()} == {
        "agree:a": 10,
        "agree:b": 5,
    }
    for name, topic in topics.items():
        own = [row for row in rows if row["topic"] == name]
        assert topic["sequence"] == max(row["sequence"] for row in own)
        assert topic["producers"] == len({row["producer"] for row in own})
        assert topic["last_published_at"] == max(row["timestamp"] for row in own)
    assert {name: topic["subscribers"] for name, topic in topics.items()} == {
        "agree:a": 2,
        "agree:b": 1,
    }
    assert [(c["consumer"], c["topic"]) for c in clients] == [
        ("other", "agree:*"),
        ("one", "agree:a"),
    ]
    links = {(each["source"], each["target"], each["type"]): each for each in graph["links"]}
    for (topic, producer), count in counts.items():
        assert links[producer, topic, "publish"]["count"] == count
    consumed = [c for c in server.get("/consumptions") if c["topic"].startswith("agree:")]
    assert links["agree:a", "one", "consume"]["count"] == len(consumed) == 2
    assert {"p", "q"} <= set(graph["producers"])
    assert {"one", "other"} <= set(graph["consumers"])
    assert {"agree:a", "agree:b"} <= set(graph["topics"])
    assert {(c["consumer"], c["message"]) for c in consumed} == {
        ("one", row["message"]) for row in rows if (row["topic"], row["sequence"]) in
        {("agree:a", 2), ("agree:a", 4)}
    }  # fmt: skip


def test_messages_are_found_by_topic_producer_and_words(server: RunningServer) -> None:
    post(server, "/publish", draft("find", "m-1", {"text": "The teapot leaks"}, producer="ada"))
    post(server, "/publish", draft("find", "m-2", {"text": "A mug"}, producer="grace"))

    def found(**query: str) -> list[str]:
        return [row["message_id"] for row in server.get("/messages", topic="find", **query)]

    assert found() == ["m-2", "m-1"]
    assert found(producer="ada") == ["m-1"]
    server.until(lambda: found(q="TEAPOT") == ["m-1"])
    assert found(q="teapot", producer="grace") == []
    for text in ('"', "*", "a AND", "(", "' OR 1=1", "-x", "NEAR("):
        found(q=text)


def test_health_says_that_all_is_well(server: RunningServer) -> None:
    assert server.get("/health/live")["status"]
    assert server.get("/health/ready")["status"]
    health = server.get("/health")
    assert health["status"] == "healthy"
    assert abs(health["timestamp"] - server.get("/api/health")["timestamp"]) < 60
    report = server.get("/api/health")
    assert {
        "status", "timestamp", "version", "node_id", "uptime_seconds", "websocket_clients", "checks"
    } <= set(report)  # fmt: skip
    assert set(report["checks"]) == {"database", "bus"}


# Who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Host": "pubsub.example"},
        {"Host": "localhost.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/messages", "/nothing", "/socket.io/?EIO=4&transport=polling"])
def test_other_machines_are_told_how_to_open_the_server(
    server: RunningServer, path: str, headers: dict[str, str]
) -> None:
    response = server.http.get(server.url + path, headers=headers, timeout=30)
    assert "PUBSUB_ALLOW_ANONYMOUS=true" in assert_error(response, 403, "forbidden")


def test_pages_of_other_origins_may_not_write(server: RunningServer) -> None:
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port + 1}"):
        response = post(server, "/publish", draft("origin"), Origin=origin)
        assert_error(response, 403, "forbidden")
    assert server.get("/messages", topic="origin") == []
    assert post(server, "/publish", draft("origin"), Origin=server.url).status_code == 200


def test_pages_of_other_origins_get_no_leave_to_read(server: RunningServer) -> None:
    origin = {"Origin": "http://evil.example"}
    for path in ("/messages", "/socket.io/?EIO=4&transport=polling"):
        response = server.http.get(server.url + path, headers=origin, timeout=30)
        assert "Access-Control-Allow-Origin" not in response.headers


def test_settings_open_the_server_to_other_machines_and_origins(tmp_path: Path) -> None:
    origin = "https://app.example"
    with RunningServer(tmp_path, allow_anonymous="true", cors_origins=origin) as server:
        foreign = {"X-Forwarded-For": "203.0.113.7"}
        assert server.http.get(server.url + "/messages", headers=foreign, timeout=30).ok
        assert post(server, "/publish", draft("o"), Origin=origin).status_code == 200
        response = post(server, "/publish", draft("o"), Origin="https://other.example")
        assert_error(response, 403, "forbidden")


def test_pages_of_listed_origins_may_read_and_publish(tmp_path: Path) -> None:
    origin = "https://app.example"
    with RunningServer(tmp_path, cors_origins=origin) as server:
        asked = server.http.options(
            server.url + "/publish",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
            timeout=30,
        )
        assert asked.ok
        assert asked.headers["Access-Control-Allow-Origin"] == origin
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert "content-type" in asked.headers["Access-Control-Allow-Headers"].lower()
        read = server.http.get(server.url + "/messages", headers={"Origin": origin}, timeout=30)
        assert read.headers["Access-Control-Allow-Origin"] == origin
        assert "origin" in read.headers["Vary"].lower()


# HTTP itself


@pytest.mark.parametrize(
    "request_text",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/nine\r\n\r\n",
        b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /" + b"a" * 65_532,  # not a byte more than is read, or the answer would be lost
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_request_is_refused_with_4xx(server: RunningServer, request_text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(request_text)
        sock.shutdown(socket.SHUT_WR)
        answer = sock.makefile("rb").read(65_536)
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer), answer[:200]
    assert b"<html" not in answer.lower()


def test_a_body_in_chunks_is_read(server: RunningServer) -> None:
    text = json.dumps(draft("chunks")).encode()
    response = server.http.post(
        server.url + "/publish", data=iter([text[:9], text[9:]]), timeout=30,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert response.json() == {"status": "ok"}
