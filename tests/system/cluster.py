"""Several real servers on one database and one Redis, for tests that look from outside."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from redis_server import RedisServer
from server import RunningServer
from torture.clients import Gone, Link

PATIENCE = 30.0
PAUSE_SECONDS = 0.1  # before it comes again
PUBLISH_TIMEOUT = 20.0


class Follower:
    """A client that keeps every sequence it is sent, and comes back whenever it is not served.

    A thread of its own: one connection after the other, so that what an old one still brings is
    never mixed with what a new one is asked for.
    """

    def __init__(self, server: RunningServer, *topics: str, name: str = "follower") -> None:
        self.heard: dict[str, list[int]] = {topic: [] for topic in topics}
        self.ids: dict[str, list[str]] = {topic: [] for topic in topics}
        self.is_subscribed = threading.Event()
        self.is_refused = threading.Event()  # once, at least
        self._server = server
        self._name = name
        self._news = threading.Condition()
        self._diary: deque[str] = deque(maxlen=20)  # what became of its last connections
        self._is_over = threading.Event()
        self._link: Link | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Follower:
        assert self.is_subscribed.wait(PATIENCE), self._story()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._link is not None:
            self._link.interrupt()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), self._story()

    def until(self, topic: str, last: int) -> None:
        """Wait until it was sent a sequence."""
        with self._news:
            there = self._news.wait_for(
                lambda: self.heard[topic] and self.heard[topic][-1] >= last, PATIENCE
            )
        assert there, f"{topic}: {self.heard[topic][-3:]} instead of {last}; {self._story()}"

    def _story(self) -> str:
        diary, log = "\n".join(self._diary), "".join(self._server.lines[-30:])
        return f"the connections of {self._name}:\n{diary}\nits server:\n{log}"

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with Link(self._server.url) as link:
                    self._link = link
                    self._follow(link)
            except Gone as error:
                self._note(f"gone: {error}")
            self._is_over.wait(PAUSE_SECONDS)

    def _follow(self, link: Link) -> None:
        """Listen until the server cannot serve it."""
        after = {topic: heard[-1] if heard else 0 for topic, heard in self.heard.items()}
        self._note(f"subscribes after {after}")
        link.ask("subscribe", {"consumer": self._name, "topics": list(after), "after": after})
        while not self._is_over.is_set():
            event, content = link.next()
            if event == "message":
                self._hear(content)
            elif isinstance(event, int):
                self._note(f"was answered {content}")
                if content["status"] != "ok":
                    self.is_refused.set()
                    return
                self.is_subscribed.set()

    def _note(self, text: str) -> None:
        self._diary.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}")

    def _hear(self, message: dict[str, object]) -> None:
        topic, sequence = str(message["topic"]), message["sequence"]
        assert isinstance(sequence, int)
        with self._news:
            self.heard[topic].append(sequence)
            self.ids[topic].append(str(message["message_id"]))
            self._news.notify_all()


class Publisher:
    """Publishes on one server, as fast as it answers, until it is stopped."""

    def __init__(self, server: RunningServer, *topics: str, name: str, seed: float) -> None:
        self.answered: dict[str, tuple[str, int]] = {}  # topic and sequence by message id
        self.refused = 0
        self.wrong: list[str] = []  # neither of the two
        self._server = server
        self._topics = topics
        self._name = name
        self._random = random.Random(seed)
        self._news = threading.Condition()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(2 * PUBLISH_TIMEOUT)
        assert not self._thread.is_alive(), f"{self._name} waits for an answer"

    def until(self, condition: Callable[[Publisher], bool]) -> None:
        """Wait until its answers have come to that."""
        with self._news:
            there = self._news.wait_for(lambda: condition(self) or self.wrong, PATIENCE)
        assert there and not self.wrong, (
            f"{self._name}: {len(self.answered)} answered, {self.refused} refused, {self.wrong}"
        )

    def _run(self) -> None:
        number = 0
        with requests.Session() as http:
            http.trust_env = False
            while not self._is_over.is_set():
                number += 1
                self._publish(http, f"{self._name}-{number}")
                self._is_over.wait(self._random.choice((0, 0, 0.005, 0.02)))

    def _publish(self, http: requests.Session, message_id: str) -> None:
        topic = self._random.choice(self._topics)
        size = self._random.choice((1, 1, 1, 50, 5_000))
        body = {
            "topic": topic,
            "message_id": message_id,
            "message": "x" * size,
            "producer": self._name,
        }
        try:
            answer = http.post(
                self._server.url + "/publish",
                json=body,
                headers={"Prefer": "return=representation"},
                timeout=PUBLISH_TIMEOUT,
            )
        except requests.RequestException:
            self._is_over.wait(0.1)
            return  # nobody knows; it may be in the log
        with self._news:
            if answer.status_code == 200:
                self.answered[message_id] = (topic, answer.json()["sequence"])
            elif (
                answer.status_code == 503
                and answer.json()["code"] == "unavailable"
                and "Retry-After" in answer.headers
            ):
                self.refused += 1
            else:
                self.wrong.append(f"{answer.status_code} {answer.text}")
            self._news.notify_all()


def check_arrival(
    server: RunningServer, publishers: Sequence[Publisher], followers: Sequence[Follower]
) -> int:
    """Every follower has the whole log, in order, once, and it has all that was answered: so many.

    The publishers are stopped.
    """
    assert [text for publisher in publishers for text in publisher.wrong] == []
    last = {each["topic"]: each["sequence"] for each in server.get("/topics")}
    for follower in followers:
        for topic, sequence in last.items():
            follower.until(topic, sequence)
            assert follower.heard[topic] == list(range(1, sequence + 1))
        assert follower.ids == followers[0].ids
    answered = {k: v for publisher in publishers for k, v in publisher.answered.items()}
    for message_id, (topic, sequence) in answered.items():
        assert followers[0].ids[topic][sequence - 1] == message_id
    return len(answered)


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
