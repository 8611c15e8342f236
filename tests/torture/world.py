"""A real node on a real file, without its doors: quick enough to do thousands of things to it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec import Raw

from python_pubsub_server import node as node_module
from python_pubsub_server.clock import LogClock
from python_pubsub_server.config import Settings
from python_pubsub_server.identity import Identity
from python_pubsub_server.model import Claim, Draft, Published
from python_pubsub_server.node import Node
from python_pubsub_server.runtime import Event, Runtime
from python_pubsub_server.storage.database import Retention
from python_pubsub_server.subscribing import Subscribed
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.wire import Subscribe, fingerprint

ANYONE = Identity("127.0.0.1")


class Clocks:
    """The machine's clocks, as the test sets them."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.steady = 50.0

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def set_back(self, seconds: float) -> None:
        self.wall -= seconds


class Recorder:
    """A connection that keeps what it is sent.

    `room` is asked whenever a replay wants to go on; it may wait as a slow client would.
    """

    address = "127.0.0.1"
    backlog = 0
    stalled_at: float | None = None

    def __init__(self, name: str, room: Callable[[], None] = lambda: None) -> None:
        self.connection_id = name
        self.room = room
        self.heard: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        self.ids: dict[tuple[str, int], str] = {}
        self.joined: list[Any] = []
        self.closed: str | None = None

    def send(self, broadcast: Broadcast) -> None:
        for payload in broadcast.payloads:
            content = json.loads(payload)
            if broadcast.event == "message":
                key = content["topic"], content["sequence"]
                self.heard[key[0]].append((key[1], content.get("replayed", False)))
                self.ids[key] = content["message_id"]
            else:
                assert broadcast.event == "subscribed"
                self.joined.append(content)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        self.room()
        return self.closed is None

    def close(self, reason: str) -> None:
        self.closed = reason

    def sequences(self, topic: str) -> list[int]:
        return [sequence for sequence, _ in self.heard[topic]]


class World:
    """A node that can be closed and opened again on the same file."""

    def __init__(self, runtime: Runtime, directory: Path, **settings: Any) -> None:
        self.runtime = runtime
        self.clocks = Clocks()
        self.settings = Settings(
            database_url=f"sqlite:///{directory}/pubsub.db", drain_seconds=5.0, **settings
        )
        self.open()

    def open(self) -> None:
        clock = partial(LogClock, lambda: self.clocks.wall, lambda: self.clocks.steady)
        with patch.object(node_module, "LogClock", clock):
            self.node = Node(self.settings, self.runtime)

    def restart(self) -> None:
        self.node.close()
        self.open()

    def publish(self, *drafts: Draft) -> list[Published]:
        return list(self.node.broker.publish(ANYONE, drafts))

    def claim(self, *claims: Claim) -> list[int | None]:
        return list(self.node.journal.write(claims=claims).claimed)

    def subscribe(self, connection: Recorder, request: Subscribe) -> Subscribed:
        return self.node.subscribing.subscribe(ANYONE, connection, request)

    def disconnect(self, connection: Recorder) -> None:
        self.node.subscribing.disconnect(connection)

    def trim(self, messages: int = 10**9, seconds: float | None = None) -> int:
        """Trim to the end what this retention would; how many messages went."""
        retention, before = Retention(messages, seconds), self.retained()
        while self.node.journal.upkeep(
            lambda writer: writer.trim(retention, self.node.clock.now(), 5)
        ):
            pass
        return before - self.retained()

    def retained(self) -> int:
        """How many messages the log has."""
        topics = self.node.readers.read(lambda reader: reader.topics())
        return sum(topic.messages for topic in topics)

    def sequences(self, topic: str) -> list[int]:
        page = self.node.history.page(ANYONE, topic, 0, 100_000)
        return [message.sequence for message in page.messages]

    def event(self) -> Event:
        return self.runtime.event()


def draft(topic: str, message_id: str, message: Any = None, producer: str = "ann") -> Draft:
    text = json.dumps(message).encode()
    return Draft(topic, message_id, Raw(text), producer, fingerprint(producer, text))


def wanting(
    consumer: str | None, *topics: str, after: Any = None, epoch: str | None = None
) -> Subscribe:
    return Subscribe(consumer, topics, consumer is None, after, epoch)
