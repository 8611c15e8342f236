#!/usr/bin/env python3
"""Make pubsub.db.example: one believable day of messages, the same ones at every run.

    make example-db
    python examples/make_example_db.py --check      # is the file in the repository current?

To look at it, start the server on a copy: cp pubsub.db.example pubsub.db && make run
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from python_pubsub_server.model import Claim, Interest, Message, matches
from python_pubsub_server.storage.database import Batch, Writer, open_database
from python_pubsub_server.wire import parse_draft

EXAMPLE = Path(__file__).resolve().parent.parent / "pubsub.db.example"
START = 1_768_176_000.0  # Monday, 2026-01-12 00:00 UTC
MINUTE, HOUR = 60.0, 3600.0
DAY = 24 * HOUR
EPOCH = "00000000-0000-4000-8000-000000000001"
SEED = 20260112


class Sent(NamedTuple):
    """What a producer sends, `at` seconds after midnight."""

    at: float
    topic: str
    producer: str
    message: object


class Follower(NamedTuple):
    """A consumer: how long it takes to confirm, and from when on it confirms nothing any more."""

    name: str
    topics: tuple[str, ...]
    takes: float
    stops_at: float = DAY


FOLLOWERS = (
    Follower("dashboard", ("host:*", "alerts"), 0.05),
    Follower("billing", ("orders",), 1.5),
    Follower("warehouse", ("orders",), 40.0, 22.5 * HOUR),
    Follower("pager", ("alerts",), 5.0, 21 * HOUR),
    Follower("climate-control", ("sensors:*",), 0.2),
    Follower("phone-ada", ("chat:*", "notifications:ada"), 20.0, 23 * HOUR),
    Follower("archive", ("*",), 300.0, 18 * HOUR),
)


def host_metrics(chance: random.Random) -> Iterator[Sent]:
    """Two machines, busy in office hours; an alert where one is too busy."""
    for host, offset in (("web-1", 0.0), ("web-2", 7.0)):
        received = 0
        for quarter in range(96):
            at = quarter * 15 * MINUTE + offset
            busy = 12 + 55 * is_office_hour(at) + 32 * chance.random()
            received += int(busy * 2_000_000)
            producer = f"host-metrics@{host}"
            cpu = {"host": host, "percent": round(busy, 1)}
            yield Sent(at, "host:cpu", producer, cpu)
            memory = {"host": host, "percent": round(40 + busy / 3, 1), "total_bytes": 2**34}
            yield Sent(at + 0.01, "host:memory", producer, memory)
            disk = {"host": host, "percent": round(61 + quarter * 0.02, 2)}
            yield Sent(at + 0.02, "host:disk", producer, disk)
            network = {"host": host, "received_bytes": received, "sent_bytes": received // 9}
            yield Sent(at + 0.03, "host:network", producer, network)
            if busy > 90:
                alert = {"severity": "warning", "host": host, "text": f"CPU at {busy:.0f} %"}
                yield Sent(at + 2, "alerts", "watchdog", alert)
    alert = {"severity": "critical", "host": "web-2", "text": "Disk of web-2 answers slowly"}
    yield Sent(22.2 * HOUR, "alerts", "watchdog", alert)


def orders(chance: random.Random) -> Iterator[Sent]:
    """Orders are placed, mostly paid, and mostly shipped the same day."""
    goods = (("coffee", 1290), ("teapot", 3450), ("mug", 899), ("grinder", 8900), ("filter", 390))
    for number in range(1, 171):
        at = (6 + 17 * chance.random()) * HOUR
        order = f"A-{10_000 + number}"
        article, cents = goods[int(chance.random() * len(goods))]
        quantity = 1 + int(chance.random() * 3)
        placed = {"order": order, "event": "placed", "article": article, "quantity": quantity}
        yield Sent(at, "orders", "shop", placed)
        if chance.random() < 0.94:
            paid = {"order": order, "event": "paid", "cents": cents * quantity, "currency": "EUR"}
            yield Sent(at + 30 + 90 * chance.random(), "orders", "payments", paid)
            shipped = {"order": order, "event": "shipped", "parcel": f"JD{730_000 + number}"}
            yield Sent(at + (1 + 3 * chance.random()) * HOUR, "orders", "warehouse-desk", shipped)
        if number % 9 == 0:
            note = {"title": "Your order is on its way", "order": order}
            user = ("ada", "grace", "linus")[number % 3]
            yield Sent(at + 5 * HOUR, f"notifications:{user}", "shop", note)


def sensors(chance: random.Random) -> Iterator[Sent]:
    """Rooms that warm up during the day, and a greenhouse that is always wet."""
    for place, base in (("hall", 19.0), ("cellar", 12.5), ("greenhouse", 24.0)):
        for step in range(72):
            at = step * 20 * MINUTE + len(place)
            warm = round(base + 2.5 * is_office_hour(at) + chance.random(), 2)
            reading = {"place": place, "celsius": warm}
            yield Sent(at, "sensors:temperature", f"sensor-{place}", reading)
            if place == "greenhouse":
                wet = {"place": place, "percent": round(78 + 8 * chance.random(), 1)}
                yield Sent(at + 1, "sensors:humidity", f"sensor-{place}", wet)


def chat(chance: random.Random) -> Iterator[Sent]:
    """Three people who work together."""
    lines = (
        "Good morning!",
        "Who looks after the greenhouse today?",
        "I do 🌱",
        "The teapots are sold out again.",
        "Más café, por favor ☕",
        "Did somebody restart web-2?",
        "No, it was busy with the backup.",
        "Lunch?",
        "In ten minutes.",
        "Grüße aus dem Keller, hier sind es 12 °C.",
        "注文がたくさん来ています。",
        "Shipping closes at six.",
    )
    people = ("ada", "grace", "linus")
    for number in range(150):
        at = (8 + 10.5 * (number + chance.random()) / 150) * HOUR
        user = people[int(chance.random() * 3)]
        room = "lobby" if chance.random() < 0.7 else "warehouse"
        content = lines[int(chance.random() * len(lines))]
        yield Sent(at, f"chat:{room}", user, {"user": user, "content": content})


def is_office_hour(at: float) -> bool:
    return 8 * HOUR <= at < 18 * HOUR


def day() -> list[Sent]:
    """All that is sent, in order."""
    chance = random.Random(SEED)
    streams = (host_metrics, orders, sensors, chat)
    sent = [one for stream in streams for one in stream(chance)]
    return sorted((one for one in sent if one.at < DAY), key=lambda one: one.at)


def record(writer: Writer) -> None:
    """Commit the day: each message when it is sent, each consumption when it is confirmed."""
    interests = [Interest(who.name, topic) for who in FOLLOWERS for topic in who.topics]
    writer.commit(Batch(START, interests=interests))
    waiting: list[tuple[float, int, int, Claim]] = []  # by time; then in the order of the messages
    for number, sent in enumerate(day(), start=1):
        confirm(writer, waiting, until=sent.at)
        message = publish(writer, number, sent)
        for place, who in enumerate(FOLLOWERS):
            wanted = any(matches(topic, message.topic) for topic in who.topics)
            if wanted and sent.at + who.takes < who.stops_at:
                claim = Claim(who.name, message.topic, message.message_id, message.sequence)
                heapq.heappush(waiting, (sent.at + who.takes, number, place, claim))
    confirm(writer, waiting, until=DAY)
    while writer.index(1_000):
        pass


def publish(writer: Writer, number: int, sent: Sent) -> Message:
    fields = {
        "topic": sent.topic,
        "message_id": f"{sent.producer}-{number:05}",
        "message": sent.message,
        "producer": sent.producer,
    }
    draft = parse_draft(json.dumps(fields, ensure_ascii=False).encode(), 2**20)
    at = round(START + sent.at, 3)
    committed = writer.commit(Batch(at, drafts=[draft], arrived_at=[at]))
    return committed.published[0].message


def confirm(writer: Writer, waiting: list[tuple[float, int, int, Claim]], *, until: float) -> None:
    """Commit what is confirmed by a time."""
    while waiting and waiting[0][0] <= until:
        at, _, _, claim = heapq.heappop(waiting)
        writer.commit(Batch(round(START + at, 3), claims=[claim]))


def make(path: Path) -> None:
    """Write the example to a file that is not there yet."""
    writer = open_database(f"sqlite:///{path.absolute()}", durability="normal").writer()
    try:
        record(writer)
    finally:
        writer.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # What differs from run to run gets a fixed value; then all of it goes into one small file.
        connection.execute("UPDATE log SET epoch = ?, created_at = ?", (EPOCH, START))
        connection.execute("UPDATE migrations SET applied_at = ?", (START,))
        connection.execute("INSERT INTO search (search) VALUES ('optimize')")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


def dump(path: Path) -> list[str]:
    """What a database holds, line by line: its schema and rows, not how SQLite arranges them."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        schema = connection.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY 1")
        lines = [sql for (sql,) in schema]
        tables = connection.execute("PRAGMA main.table_list").fetchall()
        for name in sorted(row[1] for row in tables if row[2] == "table"):
            if name != "sqlite_schema":
                rows = connection.execute(f'SELECT * FROM "{name}"')
                lines += sorted(f"{name}: {row}" for row in rows)
        return lines


def check(path: Path, folder: Path) -> str | None:
    """Why a file is not the example that this program makes, None when it is."""
    if not path.exists():
        return f"{path.name} is missing"
    fresh = folder / "fresh.db"
    make(fresh)
    ours, wanted = dump(path), dump(fresh)
    if ours == wanted:
        return None
    different = sorted(set(ours) ^ set(wanted))
    return f"{path.name} differs in {len(different)} lines, first in: {different[0][:200]}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make pubsub.db.example.")
    parser.add_argument("--check", action="store_true", help="only see whether it is current")
    parser.add_argument("--output", type=Path, default=EXAMPLE, help="the file to make or check")
    chosen = parser.parse_args()
    output: Path = chosen.output
    with tempfile.TemporaryDirectory() as name:
        if chosen.check:
            problem = check(output, Path(name))
            if problem:
                sys.exit(f"{problem}\nmake it anew: make example-db")
            return
        made = Path(name) / "made.db"
        make(made)
        output.write_bytes(made.read_bytes())
    print(f"{output}: {len(day())} messages, {output.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
