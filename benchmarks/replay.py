"""How fast missed messages come back: one client with 10,000, and 1,000 clients with 100 each.

python benchmarks/replay.py            prints a Markdown table
"""

from __future__ import annotations

import argparse
import http.client
import json
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from process import cores, free_port, running

MESSAGES = 10_000
CLIENTS, MISSED = 1_000, 100
CONTENT = "x" * 100
LEAST_RATIO = 5  # that a replay must be faster than the publishes were
TIMEOUT = 120.0
HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
)
MESSAGE = b'42["message",'


class Client:
    """A Socket.IO client that subscribes at once and counts what comes; frames are not parsed."""

    def __init__(self, port: int, subscribe: dict[str, object]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        event = json.dumps(["subscribe", subscribe])
        host = f"127.0.0.1:{port}"
        self.socket.sendall(HANDSHAKE.format(host=host).encode() + text("40") + text(f"42{event}"))
        self.messages = 0
        self._end = b""

    def receive(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        data = self._end + data
        self.messages += data.count(MESSAGE)
        self._end = data[-len(MESSAGE) + 1 :]


def text(packet: str) -> bytes:
    """A client's frame, masked with zeros (RFC 6455 §5.3)."""
    size = len(packet)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + packet.encode()


def publish(port: int, topic: str, numbers: range) -> None:
    """One after the other, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in numbers:
        body = {"topic": topic, "message_id": str(number), "message": CONTENT, "producer": "bench"}
        connection.request(
            "POST", "/publish", json.dumps(body), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise ConnectionError(f"a publish was answered {response.status}")
    connection.close()


def seconds_to_publish(port: int, topic: str, publishers: int) -> float:
    share = MESSAGES // publishers
    threads = [
        threading.Thread(target=publish, args=(port, topic, range(n * share, (n + 1) * share)))
        for n in range(publishers)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) * MESSAGES / (share * publishers)


def seconds_to_replay(port: int, topic: str, clients: int, wanted: int, after: int) -> float:
    """From the first connection's begin until the last client has its last message."""
    waiting = selectors.DefaultSelector()
    started = time.perf_counter()
    opened = []
    for number in range(clients):
        client = Client(port, {"consumer": f"c-{number}", "topics": [topic], "after": after})
        opened.append(client)
        waiting.register(client.socket, selectors.EVENT_READ, client)
        if number % 20 == 19:
            _receive(waiting, wanted, timeout=0)
    while waiting.get_map():
        if not _receive(waiting, wanted, timeout=TIMEOUT):
            raise TimeoutError(f"{len(waiting.get_map())} clients wait for messages")
    elapsed = time.perf_counter() - started
    for client in opened:
        if client.messages != wanted:
            raise ValueError(f"a client got {client.messages} messages and not {wanted}")
        client.socket.close()
    return elapsed


def _receive(waiting: selectors.BaseSelector, wanted: int, timeout: float) -> bool:
    ready = waiting.select(timeout)
    for key, _ in ready:
        key.data.receive()
        if key.data.messages >= wanted:
            waiting.unregister(key.data.socket)
    return bool(ready)


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as name:
        port = free_port()
        command = [sys.executable, "-m", "python_pubsub_server.pubsub_ws", "--host=127.0.0.1"]
        command += [f"--port={port}", f"--database-url=sqlite:///{name}/pubsub.db"]
        source = Path(__file__).resolve().parent.parent / "src"
        with running(command, port, cores()[0], Path(name), {"PYTHONPATH": str(source)}) as pids:
            yield port, pids[0]


def peak_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise ValueError("no peak of memory in /proc")


def measure(clients: int = CLIENTS) -> tuple[str, bool]:
    """The table, and whether a replay is at least five times as fast as the publishes were."""
    with server() as (port, pid):
        one = seconds_to_publish(port, "one", 1)
        many = seconds_to_publish(port, "many", 32)
        replay = sorted(seconds_to_replay(port, "one", 1, MESSAGES, 0) for _ in range(3))[1]
        before = peak_megabytes(pid)
        storm = seconds_to_replay(port, "one", clients, MISSED, MESSAGES - MISSED)
        after = peak_megabytes(pid)
    total = clients * MISSED
    rows = [
        "| what | seconds | messages/s | compared |",
        "| --- | --- | --- | --- |",
        f"| replay of {MESSAGES:,} to one client | {replay:.3f} | {MESSAGES / replay:,.0f} | 1 |",
        *(
            f"| the same published by HTTP, {name}, keep-alive | {took:.2f} "
            f"| {MESSAGES / took:,.0f} | replay is {took / replay:.0f} times as fast |"
            for name, took in (("1 publisher", one), ("32 publishers", many))
        ),
        f"| {clients:,} clients reconnect with {MISSED} missed each | {storm:.2f} "
        f"| {total / storm:,.0f} | peak RSS {before:.0f} → {after:.0f} MB |",
    ]
    return "\n".join(rows), min(one, many) >= LEAST_RATIO * replay


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when a replay is not five times as fast as the publishes were."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=CLIENTS, help="that reconnect at once")
    table, is_met = measure(parser.parse_args(arguments).clients)
    print(table)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
