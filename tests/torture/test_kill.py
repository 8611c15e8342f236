"""The server is killed at random moments, and nothing that was answered is lost or doubled."""

from __future__ import annotations

import random
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from server import RunningServer

from .amount import amount
from .clients import TIMEOUT
from .programs import (
    ConfirmingConsumer,
    Consumer,
    HttpPublisher,
    Publisher,
    ResumingConsumer,
    SocketPublisher,
)
from .tally import Tally

KILLS = amount(short=3, full=100)  # with each durability
MOST_BETWEEN = amount(short=400, full=100)  # answers between two kills
TOPICS = ["host:a", "host:b", "jobs"]
PATTERNS = ["host:*", "jobs"]


class Story:
    """A server with careful programs around it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.is_up = threading.Event()
        self.is_up.set()
        url, up = server.url, self.is_up
        self.publishers: list[Publisher] = [
            HttpPublisher("http 1", url, TOPICS, up),
            HttpPublisher("http 2", url, TOPICS[:1], up),
            SocketPublisher("socket 1", url, TOPICS, up),
            SocketPublisher("socket 2", url, TOPICS[1:], up),
        ]
        self.confirming = [
            ConfirmingConsumer("confirms topics", url, TOPICS, up),
            ConfirmingConsumer("confirms patterns", url, PATTERNS, up),
        ]
        self.consumers: list[Consumer] = [
            ResumingConsumer("resumes topics", url, TOPICS, up),
            ResumingConsumer("resumes patterns", url, PATTERNS, up),
            *self.confirming,
        ]

    def start(self) -> None:
        for consumer in self.consumers:
            consumer.start()
            consumer.until(consumer.is_ready.is_set)
        for publisher in self.publishers:
            publisher.start()

    def kill_after(self, answers: int, busiest: Publisher) -> None:
        """Kill the server once one publisher has so many more answers, and start it again."""
        target = len(busiest.answered) + answers
        try:
            busiest.until(lambda: len(busiest.answered) >= target)
        except AssertionError as error:
            stands = {each.name: (each.sent, len(each.answered)) for each in self.publishers}
            error.add_note(f"{busiest.name} to {target}; sent and answered: {stands}")
            error.add_note(self.server.log[-5_000:])
            raise
        self.is_up.clear()
        self.server.kill()
        self.server.start()
        self.is_up.set()

    def come_to_rest(self) -> dict[str, int]:
        """Let everyone finish; where the topics stand then."""
        for publisher in self.publishers:
            publisher.is_stopping = True
        for publisher in self.publishers:
            publisher.join()
        positions = {row["topic"]: row["sequence"] for row in self.server.get("/topics")}
        for consumer in self.consumers:
            consumer.until(partial(consumer.has, positions))
            consumer.stop()
            consumer.join()
        return positions

    def log(self, topic: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        while True:
            page = self.server.get(f"/topics/{topic}/messages", after=len(messages), limit=1_000)[
                "messages"
            ]
            messages += page
            if not page:
                return messages

    def consumptions(self) -> Counter[tuple[str, str, str]]:
        counted: Counter[tuple[str, str, str]] = Counter()
        url = self.server.url + "/consumptions?limit=1000"
        while url:
            response = self.server.http.get(url, timeout=TIMEOUT)
            counted.update((c["consumer"], c["topic"], c["message_id"]) for c in response.json())
            found = response.links.get("next")
            url = urljoin(self.server.url, found["url"]) if found else ""
        return counted


def test_nothing_answered_is_lost_or_doubled_by_kills(
    tmp_path: Path, durability: str, dice: random.Random, tally: Tally
) -> None:
    with RunningServer(tmp_path, durability=durability, log_level="info") as server:
        story = Story(server)
        story.start()
        for _ in range(KILLS):
            # Now and then at once: while the programs are still coming back.
            answers = 0 if dice.random() < 0.2 else dice.randint(1, MOST_BETWEEN)
            story.kill_after(answers, dice.choice(story.publishers))
            tally.add(kills_of_the_server=1)
        positions = story.come_to_rest()
        logs = {topic: story.log(topic) for topic in TOPICS}
        consumptions = story.consumptions()
        links = server.get("/graph/state")["links"]

    tally.add(
        messages_published_and_answered_between_kills=sum(map(len, logs.values())),
        messages_heard_by_resuming_and_confirming_consumers=sum(
            len(heard) for consumer in story.consumers for heard in consumer.heard.values()
        ),
        connections_of_those_consumers=sum(each.connections for each in story.consumers),
        confirmations_recorded=sum(consumptions.values()),
    )
    check_log(logs, story.publishers)
    assert positions == {topic: len(log) for topic, log in logs.items()}
    for consumer in story.consumers:
        assert consumer.ids == {
            (topic, message["sequence"]): message["message_id"]
            for topic, log in logs.items()
            for message in log
        }
    # A message that was confirmed, and the answer lost with the server, comes again: not counted.
    check_consumptions(story.confirming, logs, consumptions, links)


def check_log(logs: dict[str, list[dict[str, Any]]], publishers: list[Publisher]) -> None:
    stored: dict[tuple[str, str], int] = {}
    for topic, log in logs.items():
        assert [message["sequence"] for message in log] == list(range(1, len(log) + 1))
        counts = Counter(message["message_id"] for message in log)
        assert max(counts.values()) == 1, counts.most_common(3)
        stored.update({(topic, m["message_id"]): m["sequence"] for m in log})
    sent = {
        (draft["topic"], draft["message_id"])
        for publisher in publishers
        for draft in map(publisher.draft, range(publisher.sent))
    }
    answered = {key: n for publisher in publishers for key, n in publisher.answered.items()}
    assert answered == stored
    assert answered.keys() == sent
    for publisher in publishers:
        for log in logs.values():
            numbers = [m["message"]["number"] for m in log if m["producer"] == publisher.name]
            assert numbers == sorted(numbers)
            contents = [publisher.draft(number)["message"] for number in numbers]
            assert [m["message"] for m in log if m["producer"] == publisher.name] == contents


def check_consumptions(
    consumers: list[ConfirmingConsumer],
    logs: dict[str, list[dict[str, Any]]],
    consumptions: Counter[tuple[str, str, str]],
    links: list[dict[str, Any]],
) -> None:
    assert consumptions == {
        (consumer.name, topic, message["message_id"]): 1
        for consumer in consumers
        for topic, log in logs.items()
        for message in log
    }
    counts = {(e["target"], e["source"]): e["count"] for e in links if e["type"] == "consume"}
    for consumer in consumers:
        for topic, log in logs.items():
            assert counts[consumer.name, topic] == len(log)
