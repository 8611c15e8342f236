#!/usr/bin/env python3
"""Publish what this machine is doing, every second, on host:cpu, host:memory, host:disk and
host:network.

    pip install -r examples/requirements.txt
    python examples/host_metrics.py --url http://localhost:5000

A message that could not be delivered is sent again under the same `message_id` until the server
has it; the server recognises the repeat, so nothing is lost and nothing is stored twice.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import psutil
    import requests
except ImportError as error:
    sys.exit(f"{error.name} is missing: pip install -r examples/requirements.txt")

PRODUCER = f"host-metrics@{platform.node() or 'localhost'}"
LONGEST_PAUSE = 5.0  # between two attempts; well inside the server's deduplication window


class Publisher:
    """Sends messages over one kept connection, each until the server has it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/publish"
        self._http = requests.Session()
        self._run = uuid.uuid4().hex[:12]  # ids must not repeat those of an earlier run
        self._numbers = itertools.count(1)

    def publish(self, topic: str, message: object) -> None:
        """Publish a message; returns when it is stored. Raises SystemExit when it is refused."""
        body = {
            "topic": topic,
            "message_id": f"{self._run}-{next(self._numbers)}",
            "message": message,
            "producer": PRODUCER,
        }
        for attempt in itertools.count():
            problem = self._send(body)
            if problem is None:
                return
            pause = min(0.1 * 2**attempt, LONGEST_PAUSE)
            print(f"{problem}; again in {pause:.1f} s", file=sys.stderr)
            time.sleep(pause)

    def _send(self, body: dict[str, Any]) -> str | None:
        """One attempt; why it may be worth another one, None when the server has the message."""
        try:
            response = self._http.post(self._url, json=body, timeout=10)
        except requests.RequestException as error:
            return f"{self._url} does not answer ({type(error).__name__})"
        if response.ok:
            return None
        if response.status_code == 429 or response.status_code >= 500:
            return f"{self._url} answered {response.status_code}"
        sys.exit(f"{self._url} refused the message: {response.status_code} {response.text}")


def cpu() -> dict[str, Any]:
    return {
        "percent": psutil.cpu_percent(),
        "per_core": psutil.cpu_percent(percpu=True),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
    }


def memory() -> dict[str, Any]:
    ram, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "percent": ram.percent,
        "used_bytes": ram.used,
        "available_bytes": ram.available,
        "total_bytes": ram.total,
        "swap_percent": swap.percent,
    }


def disk() -> dict[str, Any]:
    space = psutil.disk_usage(Path.cwd().anchor)
    totals = psutil.disk_io_counters()  # None where the system does not count
    return {
        "percent": space.percent,
        "used_bytes": space.used,
        "total_bytes": space.total,
        "read_bytes": totals.read_bytes if totals else None,
        "written_bytes": totals.write_bytes if totals else None,
    }


def network() -> dict[str, Any]:
    totals = psutil.net_io_counters()
    return {
        "sent_bytes": totals.bytes_sent,
        "received_bytes": totals.bytes_recv,
        "sent_packets": totals.packets_sent,
        "received_packets": totals.packets_recv,
        "errors": totals.errin + totals.errout,
    }


MEASUREMENTS: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
    ("host:cpu", cpu),
    ("host:memory", memory),
    ("host:disk", disk),
    ("host:network", network),
)


def ticks(interval: float, count: int) -> Iterator[int]:
    """1, 2, 3 and so on, one an interval; without a count for ever. What was late is skipped."""
    due = time.monotonic()
    for number in itertools.count(1):
        yield number
        if number == count:
            return
        due = max(due + interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publish what this machine is doing.")
    parser.add_argument("--url", default="http://localhost:5000", help="the server's address")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between measurements")
    parser.add_argument("--count", type=int, default=0, help="measurements to make; 0: no end")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    publisher = Publisher(chosen.url)
    psutil.cpu_percent()  # the first call has nothing to compare with and says 0
    psutil.cpu_percent(percpu=True)
    published = 0
    try:
        print(
            f"publishing to {chosen.url} every {chosen.interval:g} s", file=sys.stderr, flush=True
        )
        for _ in ticks(chosen.interval, chosen.count):
            for topic, measure in MEASUREMENTS:
                publisher.publish(topic, measure())
                published += 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
    print(f"{published} messages published")


if __name__ == "__main__":
    main()
