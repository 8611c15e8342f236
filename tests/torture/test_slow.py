"""Clients that stop reading, or stop altogether: the others go on, and nothing is lost for them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import requests

import server as server_module
from server import RunningServer, environment, serve_command

from .amount import amount
from .clients import Link
from .tally import Tally

OUTBOUND = 200_000
SIZE = 20_000
SLOW = amount(short=20, full=100)  # connections that stop reading
# The kernel takes some megabytes for each connection before the server notices anything.
MESSAGES = amount(short=500, full=1_500)
GROWTH = 40 * 2**20  # what the server may need beside the connections' budgets
HERE = Path(__file__).parent


def publish(server: RunningServer, count: int, start: int = 0) -> None:
    with requests.Session() as http:
        http.trust_env = False
        for first in range(start, start + count, 100):
            batch = [
                {"topic": "t", "message_id": str(n), "message": "z" * SIZE, "producer": "p"}
                for n in range(first, min(first + 100, start + count))
            ]
            response = http.post(server.url + "/publish/batch", json=batch, timeout=60)
            assert response.status_code == 200


def listening(server: RunningServer) -> set[str]:
    return {row["consumer"] for row in server.get("/clients")}


def verdict(server: RunningServer, consumer: str, sequence: int) -> Any:
    return server.get("/topics/t/explain", consumer=consumer, sequence=sequence)["verdict"]


def receive(link: Link, last: int, end: int) -> int:
    """Take every message up to a sequence; they must come one after the other."""
    while last < end:
        event, message = link.next()
        if event == "message":
            assert message["sequence"] == last + 1
            last += 1
    return last


def test_who_stops_reading_is_closed_as_slow_and_misses_nothing(
    tmp_path: Path, any_durability: str, tally: Tally
) -> None:
    options: dict[str, Any] = {"durability": any_durability, "log_level": "info"}
    with RunningServer(tmp_path, outbound_bytes=OUTBOUND, **options) as server, ExitStack() as open:
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        good = open.enter_context(Link(server.url))
        good.subscribe("good", ["t"])
        slow = [open.enter_context(Link(server.url, 4_096)) for _ in range(SLOW)]
        for number, link in enumerate(slow):
            link.subscribe(f"slow {number}", ["t"])
        publish(server, 100)
        assert receive(good, 0, 100) == 100
        before = peak = process.memory_info().rss
        for start in range(100, MESSAGES, 100):
            publish(server, 100, start)
            assert receive(good, start, start + 100) == start + 100  # others are not affected
            peak = max(peak, process.memory_info().rss)
        server.until(lambda: listening(server) == {"good"})
        assert peak - before < SLOW * OUTBOUND + GROWTH, (before, peak)
        verdicts = [verdict(server, "slow 0", sequence) for sequence in range(1, MESSAGES + 1)]
        # Sent, then sent in vain, then published when it was closed already.
        assert [verdict for verdict, _ in groupby(verdicts)] == [
            "delivered",
            "slow",
            "not_subscribed",
        ]
        resumed = open.enter_context(Link(server.url))
        joined = resumed.subscribe("slow 0", ["t"], after=7)
        assert joined["topics"][0]["recovered"] is True
        assert receive(resumed, 7, MESSAGES) == MESSAGES
        tally.add(connections_that_stopped_reading=SLOW, messages_sent_to_them=MESSAGES)
        # The ledger is written behind the delivery.
        server.until(lambda: verdict(server, "slow 0", MESSAGES) == "delivered")


def with_quick_pings(**settings: object) -> list[str]:
    return [sys.executable, str(HERE / "quick_pings.py"), *serve_command(**settings)[3:]]


@contextmanager
def stopped_client(server: RunningServer) -> Iterator[None]:
    """A client that stops in the middle of its life; its socket stays open, and says nothing."""
    client = subprocess.Popen(
        [sys.executable, HERE / "silent_client.py", server.url, "half open", "t"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "subscribed\n"
        client.send_signal(signal.SIGSTOP)
        yield
    finally:
        client.kill()
        client.wait(10)
        assert client.stdout is not None
        client.stdout.close()


def test_who_does_not_answer_pings_is_gone_and_the_others_stay(
    tmp_path: Path, tally: Tally
) -> None:
    with patch.object(server_module, "serve_command", with_quick_pings):
        running = RunningServer(tmp_path, log_level="info").start()
    with ExitStack() as open:
        open.callback(running.__exit__)
        good = open.enter_context(Link(running.url))
        good.subscribe("good", ["t"])
        with stopped_client(running):
            assert listening(running) == {"good", "half open"}
            last = 0
            while "half open" in listening(running):
                publish(running, 1, last)
                last = receive(good, last, last + 1)
            assert listening(running) == {"good"}
            tally.add(connections_that_fell_silent=1)
            publish(running, 1, last)
            assert receive(good, last, last + 1) == last + 1
        explained = running.get("/topics/t/explain", consumer="half open", sequence=last + 1)
        assert explained["verdict"] == "not_subscribed", explained
