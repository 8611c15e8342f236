"""What compressing frames would cost and spare, and what an event of a client costs beside a limit.

    python benchmarks/frames.py

Nothing of it is part of `make bench`: it is what decision 16 was taken by.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

SIZES = (100, 1_024, 4_096, 16_384, 65_536)
CLIENTS = 200
EVENTS = {
    "`unsubscribe`, answered by an event": '42["unsubscribe",{}]',
    "`publish` that is refused": '42["publish",{}]',
    "`history` of an empty topic, which reads": '421["history",{"topic":"t"}]',
}
FLUSH_END = b"\x00\x00\xff\xff"  # left out of a compressed message (RFC 7692 §7.2.1)


def content(size: int) -> bytes:
    """JSON like that of programs: names repeat, values do not."""
    rows = []
    while len(json.dumps(rows)) < size:
        number = len(rows)
        rows.append(
            {"id": f"order-{number * 7919}", "total": number * 3.7, "at": 1795233007.797 + number}
        )
    return json.dumps(rows).encode()[:size]


def deflated(payload: bytes, level: int) -> bytes:
    """A message compressed by itself, so that every client can be sent the same bytes."""
    machine = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (machine.compress(payload) + machine.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH_END)


def cpu(function: Callable[[], object], seconds: float) -> float:
    """CPU microseconds a call."""
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(10):
            function()
        calls += 10
    return 1e6 * spent / calls


@contextmanager
def connections(count: int) -> Iterator[list[socket.socket]]:
    """TCP connections over loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        far = [socket.create_connection(listener.getsockname()[:2]) for _ in range(count)]
        near = [listener.accept()[0] for _ in range(count)]
    try:
        yield [each for pair in zip(near, far, strict=True) for each in pair]
    finally:
        for each in (*near, *far):
            each.close()


def sending(payload: bytes, seconds: float) -> float:
    """CPU microseconds of one send; reading is not counted."""
    with connections(CLIENTS) as ends:
        pairs = list(zip(ends[::2], ends[1::2], strict=True))
        sent = spent = 0.0
        while spent < seconds:
            start = time.process_time()
            for near, _ in pairs:
                near.sendall(payload)
            spent += time.process_time() - start
            sent += len(pairs)
            for _, far in pairs:
                left = len(payload)
                while left:
                    left -= len(far.recv(left))
    return 1e6 * spent / sent


def compression(seconds: float = 0.5) -> str:
    """A table of sizes: what is left, and what it costs."""
    lines = [
        "| bytes | left, level 1 | compressing, µs | a send, µs | a compressed send, µs |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        payload = content(size)
        small = deflated(payload, 1)
        lines.append(
            f"| {size:,} | {100 * len(small) / size:.0f} % "
            f"| {cpu(lambda p=payload: deflated(p, 1), seconds):.0f} "
            f"| {sending(payload, seconds):.1f} | {sending(small, seconds):.1f} |"
        )
    return "\n".join(lines)


def events(number: int = 5_000) -> str:
    """A table of CPU: the events of one connection, and asking whether one may come."""
    import psutil

    from python_pubsub_server.monitoring import Budget
    from server import RunningServer
    from system.clients import RawClient

    budget = Budget(100.0, 100)
    lines = ["| | µs of CPU |", "| --- | ---: |"]
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningServer(Path(folder), log_level="info") as server,
        RawClient(server.url) as client,
    ):
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        for name, event in EVENTS.items():
            before = sum(process.cpu_times()[:2])
            for _ in range(number // 50):
                for _ in range(50):
                    client.send(event)
                for _ in range(50):
                    client.next()
            spent = sum(process.cpu_times()[:2]) - before
            lines.append(f"| {name} | {1e6 * spent / number:.0f} |")
    cost = cpu(lambda: budget.take(1, time.monotonic()), 0.5)
    lines.append(f"| a bucket of tokens, asked once | {cost:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(compression(), events(), sep="\n\n")
