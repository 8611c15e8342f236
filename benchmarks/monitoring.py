"""Whether the monitoring routes stay as fast when the log grows a thousandfold.

Builds a database of 1,000 messages and one of 1,000,000 through the server's own storage, serves
each, asks every route many times, and compares the medians: python benchmarks/monitoring.py
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from contenders import CONTENDERS, SOURCE
from process import cores, free_port, running
from report import amount, markdown_table

sys.path.insert(0, str(SOURCE))

from msgspec import Raw

from python_pubsub_server.model import Claim, Draft, Interest
from python_pubsub_server.storage.database import Batch, open_database

SMALL, LARGE = 1_000, 1_000_000
MOST_RATIO = 2.0
# Ten of each: every filter then finds a full page of 100 in both databases, and no topic of the
# large one is past the default retention, whose work in the background would be measured too.
TOPICS = PRODUCERS = CONSUMERS = 10
BATCH = 1_000
ROUTES = (
    "/topics",
    "/clients",
    "/messages",
    "/messages?topic=topic-3",
    "/messages?producer=producer-4",
    "/messages?topic=topic-3&producer=producer-3&limit=10",
    "/messages?q=common",
    "/messages?q=tenth",
    "/messages?before=500",
    "/topics/topic-3/messages",
    "/topics/topic-3/messages?after=50&limit=50",
    "/consumptions",
    "/consumptions?topic=topic-3",
    "/consumptions?consumer=consumer-5",
    "/graph/state",
)


def draft(number: int) -> Draft:
    words = "common tenth" if number % 10 == 7 else "common"
    return Draft(
        topic=f"topic-{number % TOPICS}",
        message_id=f"message-{number}",
        message=Raw(b'{"text":"%s","number":%d,"filler":"%064d"}' % (words.encode(), number, 0)),
        # the division keeps producers from always meeting the same topic
        producer=f"producer-{(number // TOPICS + number) % PRODUCERS}",
        fingerprint=number,
    )


def claim(number: int) -> Claim:
    return Claim(
        consumer=f"consumer-{(number // TOPICS) % CONSUMERS}",
        topic=f"topic-{number % TOPICS}",
        message_id=f"message-{number}",
        sequence=number // TOPICS + 1,
    )


def fill(path: Path, messages: int) -> None:
    """Store messages, each consumed once, and index all of them for search."""
    writer = open_database(f"sqlite:///{path}", durability="normal").writer()
    started_at = time.time() - messages / 1000
    interests = [Interest(f"consumer-{number}", "*") for number in range(CONSUMERS)]
    writer.commit(Batch(at=started_at, interests=interests))
    for first in range(0, messages, BATCH):
        numbers = range(first, min(first + BATCH, messages))
        writer.commit(
            Batch(
                at=started_at + numbers[-1] / 1000,
                drafts=[draft(number) for number in numbers],
                arrived_at=[started_at + number / 1000 for number in numbers],
                claims=[claim(number) for number in numbers],
            )
        )
    while writer.index(10_000):
        pass
    writer.close()


class Timing(NamedTuple):
    """The median of a route over one connection, the size of its answer, and its status."""

    milliseconds: float
    size: int
    status: int


def response_times(port: int, route: str, requests: int) -> Timing:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times, size, status = [], 0, 0
    for _ in range(requests):
        started = time.perf_counter()
        connection.request("GET", route)
        response = connection.getresponse()
        size = len(response.read())
        times.append((time.perf_counter() - started) * 1e3)
        status = response.status
    connection.close()
    return Timing(median(times), size, status)


def serve_and_ask(messages: int, requests: int) -> dict[str, Timing]:
    contender = CONTENDERS["pubsub"]
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as name:
        directory, port = Path(name), free_port()
        started = time.monotonic()
        fill(directory / "pubsub.db", messages)
        print(f"{messages:,} messages stored in {time.monotonic() - started:.1f} s", flush=True)
        command = contender.command(port, directory)
        with running(command, port, cores()[0], directory, contender.environment):
            for route in ROUTES:
                response_times(port, route, 5)
            return {route: response_times(port, route, requests) for route in ROUTES}


def compared(small: Timing, large: Timing) -> tuple[str, str, str, str, str]:
    """The two medians, the two sizes, the ratio, and whether it is met."""
    ratio = large.milliseconds / small.milliseconds
    verdict = "met" if ratio <= MOST_RATIO else "MISSED"
    for timing in (small, large):
        if timing.status != 200:
            verdict = f"MISSED: HTTP {timing.status}"
    return (
        amount(small.milliseconds),
        amount(large.milliseconds),
        f"{small.size:,} · {large.size:,}",
        f"{ratio:.2f}x",
        verdict,
    )


def measure(large_messages: int, requests: int) -> tuple[str, bool]:
    """A table of all routes on both logs, and whether every ratio is met."""
    small = serve_and_ask(SMALL, requests)
    large = serve_and_ask(large_messages, requests)
    lines = [(f"`{route}`", *compared(small[route], large[route])) for route in ROUTES]
    head = ("route", f"ms at {SMALL:,}", f"ms at {large_messages:,}", "bytes", "ratio", "")
    return markdown_table(head, lines), all(line[-1] == "met" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when a route is more than twice as slow on the large log."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--large", type=int, default=LARGE, help="messages in the large log")
    parser.add_argument("--requests", type=int, default=100, help="requests of each route")
    parsed = parser.parse_args(arguments)
    table, is_met = measure(parsed.large, parsed.requests)
    print(table)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
