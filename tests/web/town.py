"""A small town of programs that publish, listen and confirm: traffic that looks like a real system.

The names are those of the examples. What it sends does not depend on chance, only when it does.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import requests
import socketio

TICK = 0.2
Content = Callable[[int], Any]


@dataclass(frozen=True)
class Source:
    """A program that publishes: about so many a second, more and less in waves of `period`."""

    producer: str
    topic: str
    rate: float
    content: Content
    period: float = 0.0

    def owed(self, at: float) -> float:
        """How many it has published by a time."""
        if not self.period:
            return self.rate * at
        turn = 2 * math.pi / self.period
        return self.rate * (at + math.sin(turn * at + len(self.topic)) / turn)


@dataclass(frozen=True)
class Follower:
    """A program that listens. It confirms `behind` messages late, and after `stops_after` none."""

    name: str
    topics: tuple[str, ...]
    behind: int = 0
    stops_after: int | None = None
    leaves: bool = False


def order(number: int) -> Any:
    goods = (("coffee", 1290), ("teapot", 3450), ("mug", 899), ("grinder", 8900), ("filter", 390))
    article, cents = goods[number % 5]
    quantity = 1 + number % 3
    placed = {"order": f"A-{10_000 + number}", "event": "placed", "article": article}
    return placed | {"quantity": quantity, "total": cents * quantity / 100}


def paid(number: int) -> Any:
    return {"order": f"A-{10_000 + number}", "event": "paid", "currency": "EUR"}


def shipped(number: int) -> Any:
    return {"order": f"A-{10_000 + number}", "event": "shipped", "parcel": f"JD{730_000 + number}"}


def host(name: str, what: str) -> Content:
    return lambda n: {"host": name, what: round(30 + 25 * math.sin(n / 7 + len(name)), 1)}


def room(place: str, degrees: float) -> Content:
    return lambda n: {"place": place, "celsius": round(degrees + math.sin(n / 9), 2)}


def line(user: str) -> Content:
    lines = ("Good morning!", "Who looks after the greenhouse today?", "I do 🌱", "Lunch?")
    return lambda n: {"user": user, "content": lines[n % len(lines)]}


SOURCES = (
    Source("shop", "orders", 6.0, order, 24),
    Source("payments", "orders", 5.0, paid, 24),
    Source("warehouse-desk", "orders", 2.0, shipped, 40),
    Source("shop", "carts", 18.0, lambda n: {"cart": n % 97, "items": n % 5}, 17),
    Source("shop", "notifications:ada", 0.3, lambda n: {"title": "Your order is on its way"}),
    Source("payments", "invoices", 4.0, lambda n: {"invoice": f"R-{n}", "cents": 390 + n}, 24),
    Source("warehouse-desk", "labels", 2.0, lambda n: {"parcel": f"JD{730_000 + n}"}, 40),
    Source("web-1", "host:web-1:cpu", 2.0, host("web-1", "percent")),
    Source("web-1", "host:web-1:memory", 1.0, host("web-1", "percent")),
    Source("web-1", "requests", 60.0, lambda n: {"path": "/", "ms": 3 + n % 9}, 31),
    Source("web-2", "host:web-2:cpu", 2.0, host("web-2", "percent")),
    Source("web-2", "host:web-2:memory", 1.0, host("web-2", "percent")),
    Source("web-2", "requests", 45.0, lambda n: {"path": "/cart", "ms": 5 + n % 7}, 23),
    Source("web-2", "alerts", 0.12, lambda n: {"type": "alert", "text": "web-2 is busy"}),
    Source("sensor-hall", "sensors:temperature", 0.8, room("hall", 19.0)),
    Source("sensor-cellar", "sensors:temperature", 0.5, room("cellar", 12.5)),
    Source("sensor-greenhouse", "sensors:temperature", 0.7, room("greenhouse", 24.0)),
    Source("sensor-greenhouse", "sensors:humidity", 0.4, lambda n: {"percent": 78 + n % 8}),
    Source("door", "alerts", 0.06, lambda n: {"type": "alert", "text": "The garage is open"}),
    Source("ada", "chat:lobby", 0.5, line("ada"), 30),
    Source("grace", "chat:lobby", 0.4, line("grace"), 21),
    Source("linus", "chat:warehouse", 0.2, line("linus")),
    Source("nightly-backup", "jobs", 0.02, lambda n: {"job": "backup", "state": "done"}),
)
FOLLOWERS = (
    Follower("dashboard", ("host:*", "alerts")),
    Follower("billing", ("orders",)),
    Follower("warehouse", ("orders", "labels"), behind=60),
    Follower("fraud-check", ("orders", "carts"), stops_after=25),
    Follower("invoice-mailer", ("invoices",)),
    Follower("label-printer", ("labels",)),
    Follower("pager", ("alerts",)),
    Follower("climate-control", ("sensors:*",)),
    Follower("phone-ada", ("chat:*", "notifications:ada")),
    Follower("phone-linus", ("chat:warehouse", "alerts"), leaves=True),
    Follower("analytics", ("requests", "carts")),
    Follower("archive", ("orders", "invoices", "jobs")),
)


@dataclass
class Town:
    """`with Town(url) as town:` lives until the block ends."""

    url: str
    _ended: threading.Event = field(default_factory=threading.Event)
    _clients: list[Any] = field(default_factory=list)

    def __enter__(self) -> Town:
        for follower in FOLLOWERS:
            self._clients.append(self._follow(follower))
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(10)
        for client in self._clients:
            client.disconnect()

    def live(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def _publish(self) -> None:
        sent = [0] * len(SOURCES)
        started = time.monotonic()
        with requests.Session() as http:
            http.trust_env = False
            while not self._ended.wait(TICK):
                bodies = []
                for index, source in enumerate(SOURCES):
                    owed = int(source.owed(time.monotonic() - started) + 1)
                    for number in range(sent[index], owed):
                        bodies.append(_body(source, number))
                    sent[index] = max(sent[index], owed)
                if bodies:
                    http.post(f"{self.url}/publish/batch", json=bodies, timeout=30)

    def _follow(self, follower: Follower) -> Any:
        client = socketio.Client(reconnection=False)
        waiting: deque[Mapping[str, Any]] = deque()
        heard = 0

        def confirm(message: Mapping[str, Any]) -> None:
            nonlocal heard
            heard += 1
            if follower.stops_after is not None and heard > follower.stops_after:
                return
            waiting.append(message)
            if len(waiting) > follower.behind:
                first = waiting.popleft()
                claim = {key: first[key] for key in ("topic", "message_id", "sequence")}
                client.emit("consumed", {"consumer": follower.name, **claim})

        client.on("message", confirm)
        client.connect(self.url, transports=["websocket"])
        client.call("subscribe", {"consumer": follower.name, "topics": list(follower.topics)})
        if follower.leaves:
            client.disconnect()
        return client


def _body(source: Source, number: int) -> Mapping[str, Any]:
    return {
        "topic": source.topic,
        "message_id": f"{source.producer}-{number}",
        "message": source.content(number),
        "producer": source.producer,
    }
