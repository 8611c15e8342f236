"""Who reads all the time, however slowly, is brought to the present and not closed as slow."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from server import RunningServer
from system.plain import PlainClient
from torture.clients import Link

OUTBOUND = 200_000
# The kernel takes some megabytes for each connection before the server notices anything, and a
# reader that is behind those counts as one that has been told all.
BEHIND = 16_000_000
MEANWHILE = 20  # batches that are published while it reads
BATCH = 5


class Shape(NamedTuple):
    topic: str
    size: int
    on_the_wire: int

    @property
    def backlog(self) -> int:
        return BEHIND // self.on_the_wire


SHAPES = {
    "large": Shape("large", 20_000, 20_100),
    "larger than the budget's half": Shape("t", 190_000, 190_100),
    "long names": Shape("n" * 200, 1, 700),
}


def narrow(server: RunningServer) -> socket.socket:
    """A connection whose kernel takes little ahead."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", server.port))
    return sock


def over_socketio(server: RunningServer, topic: str, open: ExitStack) -> Iterator[Any]:
    link = open.enter_context(Link(server.url, 4_096))
    link.subscribe("reader", [topic], after=0)
    while True:
        event, content = link.next()
        if event == "message":
            yield content


def over_ws(server: RunningServer, topic: str, open: ExitStack) -> Iterator[Any]:
    client = open.enter_context(PlainClient(server.url, sock=narrow(server), max_queue=1))
    client.ask("subscribe", consumer="reader", topics=[topic], after=0)
    while True:
        frame = client.next()
        if frame["type"] == "message":
            yield frame["data"]


def over_sse(server: RunningServer, topic: str, open: ExitStack) -> Iterator[Any]:
    stream = open.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port)))
    stream.sock = narrow(server)
    stream.request("GET", f"/topics/{topic}/events", headers={"Last-Event-ID": "0"})
    response = open.enter_context(closing(stream.getresponse()))
    event = b""
    while line := response.readline():
        name, _, value = line.partition(b": ")
        if name == b"event":
            event = value.strip()
        elif name == b"data" and event == b"message":
            yield json.loads(value)


def over_polling(server: RunningServer, topic: str, open: ExitStack) -> Iterator[Any]:
    session = open.enter_context(requests.Session())
    session.trust_env = False
    url = server.url + "/socket.io/?EIO=4&transport=polling"

    def poll() -> list[str]:
        answer = session.get(url, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text.split("\x1e")

    def say(packet: str) -> None:
        assert session.post(url, data=packet.encode(), timeout=60).status_code == 200

    url += "&sid=" + json.loads(poll()[0][1:])["sid"]
    say("40")
    say("42" + json.dumps(["subscribe", {"consumer": "reader", "topics": [topic], "after": 0}]))
    while True:
        for packet in poll():
            if packet == "2":
                say("3")
            elif packet.startswith('42["message",'):
                yield json.loads(packet[2:])[1]


def publish(server: RunningServer, shape: Shape, start: int, count: int) -> None:
    batch = [
        {
            "topic": shape.topic,
            "message_id": str(n).zfill(len(shape.topic)),
            "message": "x" * shape.size,
            "producer": "p" * len(shape.topic),
        }
        for n in range(start, start + count)
    ]
    answer = server.http.post(server.url + "/publish/batch", json=batch, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("door", [over_socketio, over_ws, over_sse, over_polling])
def test_a_replay_waits_for_who_reads_while_others_publish(
    tmp_path: Path,
    door: Callable[[RunningServer, str, ExitStack], Iterator[Any]],
    shape: Shape,
) -> None:
    settings = {"outbound_bytes": OUTBOUND, "replay_limit": 100_000, "log_level": "info"}
    with RunningServer(tmp_path, durability="normal", **settings) as server, ExitStack() as open:
        for start in range(0, shape.backlog, 100):
            publish(server, shape, start, min(100, shape.backlog - start))
        reading = door(server, shape.topic, open)
        total = shape.backlog + MEANWHILE * BATCH
        for sequence in range(1, total + 1):
            message = next(reading)
            assert message["sequence"] == sequence
            assert message.get("replayed", False) is (sequence <= shape.backlog)
            if sequence <= MEANWHILE:  # five times as fast as it reads
                publish(server, shape, shape.backlog + (sequence - 1) * BATCH, BATCH)
        publish(server, shape, total, 1)
        assert next(reading)["sequence"] == total + 1
        assert "closed_as_slow" not in server.log
