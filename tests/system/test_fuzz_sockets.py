"""What nobody should send to a WebSocket, with authentication on: nothing fails, hangs or stays."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from keys import AUDIENCE, Issuer
from python_pubsub_server.namespaces import NAMESPACES, WEBSOCKETS
from server import RunningServer
from system.doors import TIMEOUT, UPGRADE, bearer
from system.plain import PlainClient
from system.test_fuzz import as_json, names, scalars, values
from test_metrics import samples

ISSUER = Issuer()
ADMIN = ISSUER.admin()
USER = ISSUER.token("ann", pubsub={"publish": ["a", "chat:*"], "subscribe": ["a*", "chat:*"]})
PONG = '{"type":"pong"}'
SOCKETIO = "/socket.io/?EIO=4&transport=websocket"

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)

EVENTS = sorted({event for each in NAMESPACES.values() for event in each.events} | {"connect", "x"})
FIELDS = (
    *("consumer", "topics", "topic", "channel", "after", "epoch", "sequence", "limit", "since"),
    *("message_id", "message", "producer", "room", "data", "content", "status", "last_seq", "id"),
    *("token", "auth", "user"),
)
arguments = st.dictionaries(
    st.sampled_from(FIELDS),
    st.sampled_from(["a", "ann", "lobby", "ann/x", "online", 1, 0, -1, ["a"], ["a", "ab*"], {}])
    | values,
    max_size=6,
)
frames = st.one_of(
    st.builds(
        lambda event, more: as_json({"type": event} | more), st.sampled_from(EVENTS), arguments
    ),
    values.map(as_json),
    st.text(max_size=40),
    st.builds(
        lambda more, cut: as_json({"type": "subscribe"} | more)[:cut],
        arguments,
        st.integers(0, 80),
    ),
    st.binary(max_size=40),
)
packets = st.one_of(
    st.builds(
        lambda where, ack, event, body: f"42{where}{ack}{as_json([event, *body])}",
        st.sampled_from(["", "/chat,", "/monitoring,", "/nowhere,"]),
        st.sampled_from(["", "1", "999999", "99999999999999999999"]),
        st.sampled_from(EVENTS) | names,
        st.lists(arguments | values, max_size=2),
    ),
    st.builds(
        lambda kind, where, body: f"4{kind}{where}{body}",
        st.sampled_from(["0", "1", "2", "3", "4", "51-", "61-", "5-", "59999999-", "9", ""]),
        st.sampled_from(["", "/chat,", "/,", "/x", ","]),
        st.sampled_from(["", "{}", "[]", '{"token":1}', '["a"', '[{"_placeholder":true,"num":0}]'])
        | scalars.map(as_json),
    ),
    st.text(max_size=30),
    st.binary(max_size=30),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings: dict[str, Any] = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    with RunningServer(tmp_path_factory.mktemp("server"), **settings) as running:
        before = measured(running)
        yield running
        # Hundreds of connections came and went; the database's files are opened when needed.
        most = before["process_open_fds"] + 20
        running.until(lambda: measured(running)["process_open_fds"] <= most)
        after = measured(running)
        assert after["pubsub_subscriptions"] == 0
        assert sum(n for name, n in after.items() if name.startswith("pubsub_connections{")) == 0
        refused = {name: n for name, n in after.items() if "code=unavailable" in name}
        why = [line for line in running.log.splitlines() if "unavailable" in line]
        assert not refused, why[-20:]
        grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
        assert grown < 50 * 2**20
        assert "Traceback" not in running.log
        assert "_failed " not in running.log


def measured(server: RunningServer) -> dict[str, float]:
    response = server.http.get(server.url + "/metrics", headers=bearer(ADMIN), timeout=TIMEOUT)
    return samples(response.text)


def say(client: PlainClient, frames: list[str | bytes], last: str) -> None:
    """Send all, and then something that is answered, unless the connection has ended by then."""
    with suppress(ConnectionClosed):
        for frame in frames:
            text = frame.encode("utf-8", "replace").decode() if isinstance(frame, str) else frame
            client.send_text(text)
        client.send_text(last)
        while client.socket.recv(TIMEOUT) != PONG:
            pass


@pytest.mark.parametrize("path", WEBSOCKETS)
@bounded
@given(said=st.lists(frames, max_size=12))
def test_frames(server: RunningServer, path: str, said: list[str | bytes]) -> None:
    with PlainClient(server.url, path, additional_headers=bearer(USER)) as client:
        say(client, said, '{"type":"ping"}')


@pytest.mark.parametrize("joins", ["40", "40/chat,", ""], ids=["joined", "chat", "not joined"])
@bounded
@given(said=st.lists(packets, max_size=12))
def test_packets(server: RunningServer, joins: str, said: list[str | bytes]) -> None:
    with PlainClient(server.url, SOCKETIO) as client:
        first = [joins + json.dumps({"token": USER})] if joins else []
        again = "40" + json.dumps({"token": USER})
        with suppress(ConnectionClosed):
            client.send_text(again)
        say(client, [*first, *said], "6")  # no packet of Engine.IO: the answer is a goodbye


@pytest.mark.parametrize("path", [*WEBSOCKETS, SOCKETIO])
@bounded
@given(
    pieces=st.lists(
        st.binary(max_size=40)
        | st.builds(
            lambda head, size, rest: bytes((head, size)) + rest,
            st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_bytes(server: RunningServer, path: str, pieces: list[bytes]) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in (UPGRADE | bearer(USER)).items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        assert client.recv(65_536).startswith(b"HTTP/1.1 101 ")
        with suppress(ConnectionError):
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65_536):
                pass
