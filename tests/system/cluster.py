"""Several real servers on one database and one Redis, for tests that look from outside."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from redis_server import RedisServer
from server import RunningServer
from system.clients import InlineClient

PATIENCE = 30.0


class Follower:
    """A client that keeps every sequence it is sent, and comes back after each disconnect."""

    def __init__(self, server: RunningServer, *topics: str, name: str = "follower") -> None:
        self.heard: dict[str, list[int]] = {topic: [] for topic in topics}
        self.ids: dict[str, list[str]] = {topic: [] for topic in topics}
        self.is_subscribed = threading.Event()
        self._news = threading.Condition()
        self._name = name
        self._http = requests.Session()
        self._sockets: list[Any] = []
        self._client = InlineClient(
            http_session=self._http,
            reconnection_delay=0.1,
            reconnection_delay_max=0.5,
            handle_sigint=False,
        )
        self._client.on("message", self._hear)
        self._client.on("connect", self._subscribe)
        self._client.connect(server.url, transports=["websocket"], wait_timeout=10)

    def __enter__(self) -> Follower:
        assert self.is_subscribed.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        engine = self._client.eio
        tasks = [task for task in (engine.read_loop_task, engine.write_loop_task) if task]
        self._client.shutdown()
        for task in tasks:
            task.join(PATIENCE)
        for each in self._sockets:  # python-engineio leaves them to the garbage collector
            each.shutdown()
        self._http.close()

    def until(self, topic: str, last: int) -> None:
        """Wait until it was sent a sequence."""
        with self._news:
            there = self._news.wait_for(
                lambda: self.heard[topic] and self.heard[topic][-1] >= last, PATIENCE
            )
        assert there, f"{topic}: {self.heard[topic][-3:]} instead of {last}"

    def _subscribe(self) -> None:
        self._sockets.append(self._client.eio.ws)
        after = {topic: heard[-1] if heard else 0 for topic, heard in self.heard.items()}
        body = {"consumer": self._name, "topics": list(after), "after": after}
        self._client.emit("subscribe", body, callback=self._answered)

    def _answered(self, answer: dict[str, object]) -> None:
        if answer["status"] == "ok":
            self.is_subscribed.set()
        else:  # the server cannot do it now: come again
            self._client.eio.disconnect(abort=True)

    def _hear(self, message: dict[str, object]) -> None:
        topic, sequence = str(message["topic"]), message["sequence"]
        assert isinstance(sequence, int)
        with self._news:
            # A replay may begin before the last answer that a lost connection still brought.
            self.heard[topic].append(sequence)
            self.ids[topic].append(str(message["message_id"]))
            self._news.notify_all()


@contextmanager
def cluster(
    directory: Path, redis: RedisServer, count: int = 2, **settings: object
) -> Iterator[list[RunningServer]]:
    """So many servers on one file, connected by one Redis."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(RunningServer(directory, redis_url=redis.url, **settings))
            for _ in range(count)
        ]


def node_id(server: RunningServer) -> str:
    found: str = server.get("/api/health")["node_id"]
    return found


def all_see(servers: list[RunningServer]) -> None:
    """Wait until every node has seen every other one since the last of them began."""

    def is_settled(server: RunningServer) -> bool:
        nodes = server.get("/api/cluster/nodes")["nodes"]
        begun = max(node["started_at"] for node in nodes)
        return len(nodes) == len(servers) and all(node["last_seen"] > begun for node in nodes)

    for server in servers:
        server.until(lambda s=server: is_settled(s))


def send(server: RunningServer, number: signal.Signals) -> None:
    assert server.process is not None
    server.process.send_signal(number)
