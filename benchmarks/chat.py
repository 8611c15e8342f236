"""A room of a thousand: everybody comes at once, talks, is lost, and comes again.

python benchmarks/chat.py            prints a Markdown table
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contenders import CONTENDERS
from process import cores, free_port, process_seconds, running
from report import markdown_table

USERS, MESSAGES = 1_000, 500
PATIENCE = 120.0
QUIET_SECONDS = 6.0  # without a byte: the last list of users is sent by then
HISTORY, SAID = b'"type":"history"', b'"content":"bench-%d"'
MASK = b"\x00" * 4  # any mask will do (RFC 6455 §5.3)
PEAK = "VmHWM"


class Step(NamedTuple):
    """What a step took: seconds, CPU seconds of the server, its peak in MB, MB that it sent."""

    title: str
    seconds: float
    cpu: float
    peak: float
    sent: float


class User(asyncio.Protocol):
    """One client that reads as fast as it can, and only looks for what is waited for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.received = 0
        self.heard_at = 0.0
        self.found = asyncio.Event()
        self.wanted = b"\r\n\r\n"
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /chat/ws?user=user-{self.number} HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.heard_at = time.perf_counter()
        if self.wanted and self.wanted in self._tail + data:
            self.wanted = b""
            self.found.set()
        self._tail = data[-64:]

    def tell(self, kind: str, **fields: object) -> None:
        text = json.dumps({"type": kind, **fields}).encode()
        assert len(text) < 126
        self.transport.write(bytes((0x81, 0x80 | len(text))) + MASK + text)

    def want(self, text: bytes) -> None:
        self.found.clear()
        self.wanted = text


class Room:
    """The users, and what the server used while they did something."""

    def __init__(self, port: int, pids: Sequence[int], count: int) -> None:
        self._port = port
        self._pids = pids
        self._users = [User(number) for number in range(count)]
        self.steps: list[Step] = []

    async def measure(self) -> list[Step]:
        await self._step(f"{len(self._users):,} users join at once", self._come())
        await self._step(f"one of them says {MESSAGES} messages", self._talk())
        await self._step("the connections of all are lost", self._vanish())
        self._users = [User(number) for number in range(len(self._users))]
        await self._step("all come again, each having missed 100", self._come(MESSAGES - 100))
        for user in self._users:
            user.transport.close()
        return self.steps

    async def _step(self, title: str, doing: Coroutine[Any, Any, None]) -> None:
        received = sum(user.received for user in self._users)
        started, before = time.perf_counter(), process_seconds(self._pids)
        await asyncio.wait_for(doing, PATIENCE)
        seconds = time.perf_counter() - started
        while time.perf_counter() - max(user.heard_at for user in self._users) < QUIET_SECONDS:
            await asyncio.sleep(0.1)
        cpu = process_seconds(self._pids) - before
        sent = (sum(user.received for user in self._users) - received) / 2**20
        self.steps.append(Step(title, seconds, cpu, peak_megabytes(self._pids[0]), sent))

    async def _come(self, last: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(
                loop.create_connection(lambda user=user: user, "127.0.0.1", self._port)  # type: ignore[misc]
                for user in self._users
            )
        )
        await self._all_found()
        more = {} if last is None else {"last_seq": last}
        for user in self._users:
            user.want(HISTORY)
            user.tell("join", room="r", **more)
        await self._all_found()

    async def _talk(self) -> None:
        for user in self._users:
            user.want(SAID % (MESSAGES - 1))
        for number in range(MESSAGES):
            self._users[0].tell("message", data={"room": "r", "content": f"bench-{number}"})
        await self._all_found()

    async def _vanish(self) -> None:
        for user in self._users:
            user.transport.abort()

    async def _all_found(self) -> None:
        await asyncio.gather(*(user.found.wait() for user in self._users))


def peak_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(PEAK):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {PEAK}")


def measure(users: int = USERS) -> str:
    """The table."""
    contender = CONTENDERS["pubsub"]
    server_core, client_core = cores()
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as name:
        directory, port = Path(name), free_port()
        command = contender.command(port, directory)
        with running(command, port, server_core, directory, contender.environment) as pids:
            empty = peak_megabytes(pids[0])
            os.sched_setaffinity(0, {client_core})
            try:
                steps = asyncio.run(Room(port, pids, users).measure())
            finally:
                os.sched_setaffinity(0, before)
    lines = [
        (
            step.title,
            f"{step.seconds:.2f}",
            f"{step.cpu:.2f}",
            f"{step.peak:.0f}",
            f"{step.sent:.0f}",
        )
        for step in steps
    ]
    head = ("step", "seconds", "CPU seconds of the server", "its peak memory, MB", "MB sent")
    return markdown_table(head, [("before", "", "", f"{empty:.0f}", ""), *lines])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--users", type=int, default=USERS)
    print(measure(parser.parse_args(arguments).users))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
