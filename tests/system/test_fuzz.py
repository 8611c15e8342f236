"""Whatever comes in: never a 5xx, the connection lives, nothing is stored."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from hypothesis import given, settings
from hypothesis import strategies as st

from server import RunningServer
from system.clients import RawClient

bounded = settings(max_examples=150, deadline=None, derandomize=True, database=None)

FIELDS = ("topic", "message_id", "message", "producer")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW")
PATHS = (
    "/publish", "/publish/batch", "/clients", "/messages", "/consumptions", "/topics",
    "/graph/state", "/health", "/api/health", "/socket.io/", "/static/", "/", "/topics/a/messages",
)  # fmt: skip
EVENTS = ("subscribe", "unsubscribe", "publish", "consumed", "history", "presence", "connect", "x")

names = st.text(max_size=20) | st.sampled_from(["a", "a*", "*", "$x", "x" * 201])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | names
    | st.sampled_from([10**30, -1, 0, 2**63, "beginning", "consumed"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
)
requests = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("consumer", "topics", "channel", "after", "epoch", "topic", "sequence", "limit"), values
    ),
)


@st.composite
def spoilt_drafts(draw: st.DrawFn) -> dict[str, Any]:
    """A publish with one field missing or not what it must be."""
    draft = {"topic": "fuzz", "message_id": "m", "message": draw(values), "producer": "p"}
    field = draw(st.sampled_from(FIELDS))
    if field == "message" or draw(st.booleans()):
        del draft[field]
    else:
        draft[field] = draw(scalars.filter(lambda value: not isinstance(value, str)))
    return draft


def as_json(value: object) -> str:
    return json.dumps(value)  # NaN and lone surrogates included, which are not JSON


broken = st.builds(
    lambda value, cut, junk: as_json(value)[:cut] + junk,
    spoilt_drafts(), st.integers(0, 60), st.text(max_size=10),
)  # fmt: skip
bodies = st.one_of(
    spoilt_drafts().map(as_json),
    values.filter(lambda value: not isinstance(value, dict)).map(as_json),
    broken,
    st.text(max_size=50),
).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=50)
targets = st.one_of(
    st.sampled_from(PATHS),
    st.builds(
        lambda path, query: f"{path}?{query}",
        st.sampled_from(PATHS),
        st.text("abcdefghijklmnopqrstuvwxyz=&%019+*", max_size=30),
    ),
    st.builds(
        lambda path, name, value: f"{path}?{name}={value}",
        st.sampled_from(PATHS),
        st.sampled_from(["limit", "before", "topic", "q", "producer", "consumer", "EIO", "after"]),
        st.text("abc019%*\"'-", max_size=12),
    ),
    st.text("abc/.%0~;:@", max_size=20).map(lambda text: "/" + text),
)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_stored(server: RunningServer) -> Iterator[None]:
    yield
    assert server.get("/messages") == []
    assert server.get("/consumptions") == []
    failures = [server.log[m.start() :][:2_000] for m in re.finditer("Traceback", server.log)]
    assert not failures, failures[0]


@pytest.fixture(scope="module")
def connection(server: RunningServer) -> Iterator[http.client.HTTPConnection]:
    one = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield one
    one.close()


@bounded
@given(method=st.sampled_from(METHODS), target=targets, body=bodies)
def test_no_request_makes_the_server_fail(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes
) -> None:
    connection.request(method, target, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    assert response.status < 500, content
    is_ours = not target.startswith(("/socket.io", "/static"))
    if response.status >= 400 and content and is_ours:
        error = json.loads(content)
        assert (error["status"], set(error)) == ("error", {"status", "code", "message"})


@bounded
@given(
    path=st.sampled_from(["/publish", "/publish/batch"]),
    kind=st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""]),
    body=bodies,
)
def test_no_body_is_stored_unless_it_is_right(
    connection: http.client.HTTPConnection, path: str, kind: str, body: bytes
) -> None:
    connection.request("POST", path, body, {"Content-Type": kind})
    response = connection.getresponse()
    error = json.loads(response.read())
    assert response.status in (400, 413, 415)
    assert error["status"] == "error"


@bounded
@given(event=st.sampled_from(EVENTS), argument=spoilt_drafts() | requests | values)
def test_no_event_ends_the_connection(server: RunningServer, event: str, argument: Any) -> None:
    packet = f"42{as_json([event, argument])}".encode("utf-8", "replace")
    with RawClient(server.url) as raw:
        raw.send_bytes(packet, websocket.ABNF.OPCODE_TEXT)
        raw.assert_alive()


@bounded
@given(body=st.text(max_size=40) | broken)
def test_no_malformed_event_ends_the_connection(server: RunningServer, body: str) -> None:
    with RawClient(server.url) as raw:
        raw.send_bytes(b"42" + body.encode("utf-8", "replace"), websocket.ABNF.OPCODE_TEXT)
        raw.assert_alive()


@bounded
@given(
    start=st.sampled_from(["", "4", "40", "41", "43", "44", "45", "451-", "46", "4/x,", "5", "2"]),
    rest=st.text(max_size=20) | st.binary(max_size=20),
)
def test_no_frame_ends_the_server(server: RunningServer, start: str, rest: str | bytes) -> None:
    with RawClient(server.url) as client:
        if isinstance(rest, bytes):
            client.send_bytes(start.encode() + rest)
        else:
            client.send(start + rest.encode("utf-8", "replace").decode())
    with RawClient(server.url) as another:
        another.assert_alive()


@bounded
@given(packets=st.lists(st.text(max_size=20) | broken.map(lambda text: "42" + text), max_size=3))
def test_no_polled_payload_ends_the_server(
    connection: http.client.HTTPConnection, packets: list[str]
) -> None:
    def ask(method: str, query: str, body: bytes | None = None) -> tuple[int, bytes]:
        path = f"/socket.io/?EIO=4&transport=polling{query}"
        connection.request(method, path, body, {"Content-Type": "text/plain"})
        response = connection.getresponse()
        return response.status, response.read()

    status, greeting = ask("GET", "")
    assert status == 200
    sid = json.loads(greeting[1:])["sid"]
    payload = "\x1e".join(["40", *packets]).encode("utf-8", "replace")
    assert ask("POST", f"&sid={sid}", payload)[0] in (200, 400)
    assert ask("POST", f"&sid={sid}", b"1")[0] in (200, 400)
