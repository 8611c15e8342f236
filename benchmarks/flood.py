"""What a flood of strangers costs those who may come in: the latency of their messages meanwhile.

A server with authentication is on one core; on the other are twenty publishers and twenty
subscribers, who measure, and a flood, as fast as what is left of that core allows:
python benchmarks/flood.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import select
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from process import cores, free_port, pinned, process_seconds, running
from report import amount, markdown_table

SUBSCRIBERS, PUBLISHERS = 20, 20
MESSAGES_PER_SECOND = 200
SECONDS = 5.0
AT_ONCE = 64  # connections of a flood that are under way
LORIS = 1_000
PATIENCE = 10.0
MESSAGE = re.compile(rb'"message_id":"(\d+)".*?"sequence":\d+')
RESET = struct.pack("ii", 1, 0)  # close without TIME_WAIT, or the ports would soon be used up

UPGRADE = (
    "Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Flood(NamedTuple):
    """What strangers do: what each connection says, and whether it awaits an answer."""

    title: str
    request: str
    is_answered: bool = True


FLOODS = {
    "handshakes": Flood("WebSockets without a token", f"GET /ws HTTP/1.1\r\n{UPGRADE}\r\n"),
    "sessions": Flood(
        "Socket.IO sessions that join nothing",
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{UPGRADE}\r\n",
    ),
    "publishes": Flood(
        "publishes with a forged token",
        "POST /publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\nContent-Length: 2"
        "\r\n\r\n{}",
    ),
    "connections": Flood("connections that say nothing", "", is_answered=False),
}


@dataclass(frozen=True)
class Report:
    """How the authenticated fared during one thing."""

    title: str
    latencies: Sequence[float]  # of every delivery, in seconds
    missing: int
    strangers: float  # connections of the flood, a second
    server: float  # percent of its core

    def at(self, share: float) -> float:
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]

    def row(self) -> tuple[str, ...]:
        times = [f"{1_000 * self.at(share):.2f}" for share in (0.5, 0.99, 1.0)]
        rate = amount(self.strangers) if self.strangers else ""
        return (self.title, rate, *times, str(self.missing), f"{self.server:.0f} %")


def flood(port: int, request: bytes, *, is_answered: bool, seconds: float) -> int:
    """Open connections as fast as possible, a number at a time; how many were answered."""
    done = 0
    selector = selectors.DefaultSelector()
    give_up_at = time.monotonic() + seconds
    for _ in range(AT_ONCE):
        _open(selector, port)
    while time.monotonic() < give_up_at:
        for key, _ in selector.select(0.1):
            sock: socket.socket = key.fileobj  # type: ignore[assignment]
            try:
                if key.events == selectors.EVENT_WRITE and is_answered:
                    sock.send(request)
                    selector.modify(sock, selectors.EVENT_READ)
                    continue
                done += bool(not is_answered or sock.recv(4_096))
            except OSError:
                pass  # turned away, which a flood does not mind
            selector.unregister(sock)
            sock.close()
            _open(selector, port)
    return done


def _open(selector: selectors.BaseSelector, port: int) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    selector.register(sock, selectors.EVENT_WRITE)


def trickle(port: int, count: int, seconds: float) -> int:
    """Hold so many requests open, a byte a second each, in place of each that is ended another."""
    give_up_at = time.monotonic() + seconds
    socks = [_begin(port) for _ in range(count)]
    opened = count
    while time.monotonic() < give_up_at:
        began = time.monotonic()
        for number, sock in enumerate(socks):
            try:
                sock.send(b"x")
            except OSError:
                sock.close()
                socks[number] = _begin(port)
                opened += 1
        time.sleep(max(0.0, min(1.0 - (time.monotonic() - began), give_up_at - time.monotonic())))
    for sock in socks:
        sock.close()
    return opened


def _begin(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.send(b"POST /publish HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    return sock


class Traffic:
    """Publishers and subscribers, all with a token; every delivery is timed."""

    def __init__(self, port: int, token: str) -> None:
        self._authorization = f"Authorization: Bearer {token}\r\n"
        self._publishers = [_connected(port) for _ in range(PUBLISHERS)]
        self._subscribers = [self._subscriber(port) for _ in range(SUBSCRIBERS)]
        self._sent: list[float] = []  # when each message was due
        self._got = [0] * SUBSCRIBERS
        self._rest = [b""] * SUBSCRIBERS
        self.latencies: list[float] = []

    def run(self, seconds: float) -> None:
        """Publish at a steady rate, on time however slow the answers are, and then wait a while."""
        poll = select.epoll()
        by_file = {sock.fileno(): number for number, sock in enumerate(self._subscribers)}
        for sock in (*self._subscribers, *self._publishers):
            poll.register(sock, select.EPOLLIN)
        self.latencies = []
        first = len(self._sent)
        began = time.monotonic()
        while True:
            now = time.monotonic()
            due = int(min(now - began, seconds) * MESSAGES_PER_SECOND)
            while len(self._sent) - first < due:
                self._sent.append(began + (len(self._sent) - first) / MESSAGES_PER_SECOND)
                self._publish()
            if now - began > seconds and (self.missing == 0 or now - began > seconds + PATIENCE):
                break
            for file, _ in poll.poll(0.001):
                if file in by_file:
                    self._take(by_file[file])
                else:
                    os.read(file, 65_536)
        poll.close()

    @property
    def missing(self) -> int:
        """Deliveries that should have been there by now."""
        return len(self._sent) * SUBSCRIBERS - sum(self._got)

    def close(self) -> None:
        for sock in (*self._subscribers, *self._publishers):
            sock.close()

    def _publish(self) -> None:
        number = len(self._sent) - 1
        body = json.dumps({"topic": "t", "message_id": str(number), "message": 1, "producer": "a"})
        self._publishers[number % PUBLISHERS].sendall(
            f"POST /publish HTTP/1.1\r\nHost: x\r\n{self._authorization}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def _take(self, number: int) -> None:
        """Messages of one publisher come in order; which one it is stands in each."""
        data = self._subscribers[number].recv(65_536)
        if not data:
            raise RuntimeError("a subscriber was disconnected")
        now = time.monotonic()
        data = self._rest[number] + data
        end = 0
        for found in MESSAGE.finditer(data):
            self.latencies.append(now - self._sent[int(found[1])])
            self._got[number] += 1
            end = found.end()
        self._rest[number] = data[end:]

    def _subscriber(self, port: int) -> socket.socket:
        sock = _connected(port)
        sock.sendall(f"GET /ws HTTP/1.1\r\n{UPGRADE}{self._authorization}\r\n".encode())
        _read_until(sock, b"\r\n\r\n")
        body = json.dumps({"type": "subscribe", "id": 1, "channel": "t"}).encode()
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))
        sock.sendall(bytes((0x81, 0x80 | len(body))) + mask + masked)
        _read_until(sock, b'"ack"')
        return sock


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _read_until(sock: socket.socket, mark: bytes) -> None:
    got = b""
    while mark not in got:
        piece = sock.recv(65_536)
        if not piece:
            raise RuntimeError(f"the server closed the connection: {got!r}")
        got += piece


@contextmanager
def strangers(arguments: Sequence[str], core: int) -> Iterator[Callable[[], int]]:
    """A flood in a process of its own, behind those who measure; when asked, how many came."""
    command = ["nice", "-n", "10", sys.executable, __file__, *arguments]
    process = subprocess.Popen(pinned(command, core), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it begins now

        def count() -> int:
            assert process.stdout is not None
            return int(process.stdout.readline() or 0)

        yield count
    finally:
        process.stdout.close()
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def measure(seconds: float = SECONDS, loris: int = LORIS) -> list[Report]:
    """The authenticated alone, then beside each flood, then alone again."""
    from python_pubsub_server.identity import Rights
    from python_pubsub_server.tokens import sign, signing_key

    (server_core, other_core), port = cores(), free_port()
    secret = secrets.token_hex(32)
    token, _ = sign(
        signing_key(secret, None), "a", Rights(("t",), ("t",)), now=time.time(), seconds=3_600
    )
    reports = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pubsub-bench-")))
        command = [
            *(sys.executable, "-m", "python_pubsub_server.pubsub_ws", "--host=127.0.0.1"),
            *(f"--port={port}", f"--database-url=sqlite:///{directory}/pubsub.db"),
        ]
        environment = {"PUBSUB_JWT_SECRET": secret}
        pids = stack.enter_context(running(command, port, server_core, directory, environment))
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {other_core})
        traffic = Traffic(port, token)
        stack.callback(traffic.close)

        def report(title: str, count: Callable[[], int]) -> None:
            before, began = process_seconds(pids), time.monotonic()
            traffic.run(seconds)
            percent = 100 * (process_seconds(pids) - before) / (time.monotonic() - began)
            rate = count() / seconds
            reports.append(Report(title, traffic.latencies, traffic.missing, rate, percent))

        traffic.run(min(seconds, 1.0))  # nobody measures a server that has just begun
        report("nobody else", lambda: 0)
        for name, kind in FLOODS.items():
            with strangers(("--flood", name, str(port), str(seconds)), other_core) as count:
                report(kind.title, count)
        with strangers(("--trickle", str(loris), str(port), str(seconds)), other_core) as count:
            report(f"{loris:,} requests that come byte by byte", count)
        report("nobody else, afterwards", lambda: 0)
    return reports


def table(reports: Sequence[Report]) -> str:
    return markdown_table(
        (
            "beside them",
            "strangers a second",
            "p50 ms",
            "p99 ms",
            "longest ms",
            "missing",
            "the server's core",
        ),
        [report.row() for report in reports],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--flood", nargs=3, metavar=("NAME", "PORT", "SECONDS"))
    parser.add_argument("--trickle", nargs=3, metavar=("COUNT", "PORT", "SECONDS"))
    arguments = parser.parse_args()
    if not (arguments.flood or arguments.trickle):
        print(table(measure(arguments.seconds)))
        return
    print("begin", flush=True)
    if arguments.flood:
        name, port, seconds = arguments.flood
        kind = FLOODS[name]
        request = kind.request.encode()
        print(flood(int(port), request, is_answered=kind.is_answered, seconds=float(seconds)))
    else:
        count, port, seconds = arguments.trickle
        print(trickle(int(port), int(count), float(seconds)))


if __name__ == "__main__":
    main()
