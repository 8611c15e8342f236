"""Publishers and consumers as careful programs are: they retry, they resume, they confirm."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Any

import requests

from .clients import TIMEOUT, Gone, Link, Worker

WINDOW = 8  # publishes that a Socket.IO publisher leaves unanswered


class Publisher(Worker):
    """Publishes 0, 1, 2… to its topics in turn, each until it is answered `ok`.

    `answered` has the sequence that the server gave, by topic and message id.
    """

    def __init__(self, name: str, url: str, topics: list[str], is_up: threading.Event) -> None:
        super().__init__(is_up)
        self.name = name
        self.url = url
        self.topics = topics
        self.answered: dict[tuple[str, str], int] = {}
        self.sent = 0

    def draft(self, number: int) -> dict[str, Any]:
        return {
            "topic": self.topics[number % len(self.topics)],
            "message_id": f"{self.name}-{number}",
            "message": {"number": number, "padding": "x" * (number % 300)},
            "producer": self.name,
        }

    def note(self, draft: dict[str, Any], sequence: int) -> None:
        self.answered[draft["topic"], draft["message_id"]] = sequence
        self.tell()


class HttpPublisher(Publisher):
    def run(self) -> None:
        with requests.Session() as http:
            http.trust_env = False
            http.headers["Prefer"] = "return=representation"
            while not self.is_stopping:
                draft = self.draft(self.sent)
                self.sent += 1
                self.note(draft, self._publish(http, draft))

    def _publish(self, http: requests.Session, draft: dict[str, Any]) -> int:
        while True:
            assert self.is_up.wait(30)
            try:
                response = http.post(self.url + "/publish", json=draft, timeout=TIMEOUT)
            except requests.RequestException:
                continue
            if response.status_code == 200:
                return int(response.json()["sequence"])
            assert response.status_code == 503, response.text


class SocketPublisher(Publisher):
    def run(self) -> None:
        unanswered: deque[dict[str, Any]] = deque()
        while not self.is_stopping or unanswered:
            assert self.is_up.wait(30)
            try:
                with Link(self.url) as link:
                    self._publish(link, unanswered)
            except Gone:
                continue

    def _publish(self, link: Link, unanswered: deque[dict[str, Any]]) -> None:
        for draft in unanswered:  # the answers of the last connection will not come any more
            link.ask("publish", draft)
        while True:
            while len(unanswered) < WINDOW and not self.is_stopping:
                unanswered.append(self.draft(self.sent))
                self.sent += 1
                link.ask("publish", unanswered[-1])
            if not unanswered:
                return
            _, answer = link.next()
            assert answer["status"] == "ok" or answer["code"] == "unavailable", answer
            if answer["status"] != "ok":
                return
            self.note(unanswered.popleft(), answer["sequence"])


class Consumer(Worker):
    """Subscribes from the beginning, and again whenever the server was away."""

    def __init__(self, name: str, url: str, subscribed: list[str], is_up: threading.Event) -> None:
        super().__init__(is_up)
        self.name = name
        self.url = url
        self.subscribed = subscribed
        self.heard: dict[str, list[int]] = defaultdict(list)
        self.ids: dict[tuple[str, int], str] = {}
        self.is_ready = threading.Event()
        self.connections = 0
        self.link: Link | None = None

    def has(self, positions: dict[str, int]) -> bool:
        """Whether it heard everything up to these sequences, and all is confirmed."""
        raise NotImplementedError

    def run(self) -> None:
        while not self.is_stopping:
            assert self.is_up.wait(30)
            try:
                with Link(self.url) as self.link:
                    self.connections += 1
                    self.listen(self.link)
            except Gone:
                continue

    def listen(self, link: Link) -> None:
        raise NotImplementedError

    def take(self, message: dict[str, Any]) -> tuple[str, int]:
        topic, sequence = message["topic"], message["sequence"]
        known = self.ids.setdefault((topic, sequence), message["message_id"])
        assert known == message["message_id"], f"{topic} {sequence} was {known}, now {message}"
        self.heard[topic].append(sequence)
        return topic, sequence

    def stop(self) -> None:
        self.is_stopping = True
        if self.link is not None:
            self.link.interrupt()


class ResumingConsumer(Consumer):
    """Remembers the last sequence of each topic, and takes nothing but the next one."""

    def __init__(self, name: str, url: str, subscribed: list[str], is_up: threading.Event) -> None:
        super().__init__(name, url, subscribed, is_up)
        self.last: dict[str, int] = {}
        self.epoch: str | None = None

    def has(self, positions: dict[str, int]) -> bool:
        return self.last == positions

    def listen(self, link: Link) -> None:
        more = {"epoch": self.epoch} if self.epoch else {}
        start = dict.fromkeys(self.subscribed, 0) | self.last
        joined = link.subscribe(self.name, self.subscribed, after=start, **more)
        assert self.epoch in (None, joined["epoch"])
        assert all(topic["recovered"] for topic in joined["topics"]), joined
        self.epoch = joined["epoch"]
        self.is_ready.set()
        self.tell()
        while True:
            event, content = link.next()
            if event == "message":
                topic, sequence = self.take(content)
                assert sequence == self.last.get(topic, 0) + 1, (self.last, content)
                self.last[topic] = sequence
                self.tell()


class ConfirmingConsumer(Consumer):
    """Remembers nothing itself: what it confirmed does not come again, all else does."""

    def __init__(self, name: str, url: str, subscribed: list[str], is_up: threading.Event) -> None:
        super().__init__(name, url, subscribed, is_up)
        self.asked: dict[int, tuple[str, int]] = {}
        self.is_joined = False
        self.replayed = 0  # of what this connection has to replay still
        self.confirmed: set[tuple[str, int]] = set()

    def has(self, positions: dict[str, int]) -> bool:
        # What was confirmed to a server that was killed before its answer does not come again.
        is_whole = self.is_joined and self.replayed == 0 and not self.asked
        return is_whole and len(self.ids) == sum(positions.values())

    def listen(self, link: Link) -> None:
        self.is_joined = False
        joined = link.subscribe(self.name, self.subscribed, after="consumed")
        assert all(topic["recovered"] for topic in joined["topics"]), joined
        self.replayed = sum(topic["replayed"] for topic in joined["topics"])
        self.asked = asked = {}
        self.is_joined = True
        self.is_ready.set()
        self.tell()
        last: dict[str, int] = {}
        while True:
            event, content = link.next()
            if event == "message":
                topic, sequence = key = self.take(content)
                assert sequence > last.get(topic, 0), content
                assert key not in self.confirmed, f"{key} was confirmed"
                last[topic] = sequence
                self.replayed -= content.get("replayed", False)
                claim = {"consumer": self.name, "message_id": content["message_id"]}
                asked[link.ask("consumed", {**claim, "topic": topic, "sequence": sequence})] = key
            elif event in asked:
                assert content["status"] == "ok", content
                self.confirmed.add(asked.pop(event))
                self.tell()
