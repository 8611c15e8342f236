"""A replay becomes live while others publish at full speed: no gap, no duplicate, no inversion."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from server import RunningServer

from .amount import amount
from .clients import Gone, Link, Worker
from .programs import SocketPublisher
from .tally import Tally

TOPICS = ["live:a", "live:b"]
BACKLOG = 10_000  # on each topic
PIECE = 4_096
BEYOND = 300  # live messages that a client waits for, on each topic
JOINS = amount(short=1, full=4)
SIZE = 700


class Fast(SocketPublisher):
    def draft(self, number: int) -> dict[str, Any]:
        return {**super().draft(number), "message": "x" * SIZE}


class Joiner(Worker):
    """Joins, checks every message of the replay and some after it, and joins anew.

    Where it cannot keep up with the publishers it is closed as slow, and resumes as clients do.
    """

    def __init__(self, url: str, up: threading.Event, wanted: list[str], request: Any) -> None:
        super().__init__(up)
        self.url = url
        self.wanted = wanted
        self.request = request
        self.heard = 0
        self.resumed = 0
        self.last: dict[str, int] = {}
        self.goal: dict[str, int] = {}

    def run(self) -> None:
        for _ in range(JOINS):
            self.last.clear()
            while not self.last or self.is_behind():
                with contextlib.suppress(*Gone), Link(self.url, PIECE) as link:
                    self.follow(link)

    def is_behind(self) -> bool:
        return any(self.last[topic] < goal for topic, goal in self.goal.items())

    def follow(self, link: Link) -> None:
        asked = {"after": dict(self.last)} if self.last else self.request()
        joined = link.subscribe(asked.pop("consumer", "joiner"), self.wanted, **asked)
        flat = [each for topic in joined["topics"] for each in topic.get("topics", [topic])]
        stands = {each["topic"]: each for each in flat}
        assert stands.keys() == set(TOPICS)
        assert all(each["recovered"] for each in flat)
        begin = {t: each["sequence"] - each["replayed"] for t, each in stands.items()}
        if self.last:
            assert begin == self.last
            self.resumed += 1
            assert self.resumed < 10 * JOINS, "it does not keep up at all"
        else:
            self.last |= begin
            self.goal = {t: each["sequence"] + BEYOND for t, each in stands.items()}
        while self.is_behind():
            event, content = link.next()
            if event == "message":
                self.take(content, stands[content["topic"]]["sequence"])
            else:
                assert content["status"] == "ok", (event, content)

    def take(self, message: dict[str, Any], stood_at: int) -> None:
        topic, sequence = message["topic"], message["sequence"]
        assert sequence == self.last[topic] + 1, (self.last, sequence)
        assert message.get("replayed", False) is (sequence <= stood_at)
        self.last[topic] = sequence
        self.heard += 1


@contextmanager
def working(*workers: Worker) -> Iterator[None]:
    for worker in workers:
        worker.start()
    yield
    for worker in workers:
        worker.is_stopping = True
        worker.join()


def fill(url: str, count: int) -> None:
    with requests.Session() as http:
        http.trust_env = False
        for topic in TOPICS:
            for start in range(0, count, 5_000):
                numbers = range(start, start + 5_000)
                batch = [
                    {"topic": topic, "message_id": str(n), "message": "y" * SIZE, "producer": "p"}
                    for n in numbers
                ]
                assert http.post(url + "/publish/batch", json=batch, timeout=60).status_code == 200


def from_the_start() -> dict[str, Any]:
    return {"after": 0}


def unconsumed() -> dict[str, Any]:
    return {"after": "consumed", "consumer": "confirms nothing"}


def test_joining_under_load_is_without_a_seam(
    tmp_path: Path, any_durability: str, dice: random.Random, tally: Tally
) -> None:
    with RunningServer(
        tmp_path, durability=any_durability, log_level="info", replay_limit=1_000_000
    ) as server:
        with Link(server.url) as link:
            link.subscribe("confirms nothing", ["live:*"])
        fill(server.url, BACKLOG)
        up = threading.Event()
        up.set()
        publishers = [Fast(f"fast {n}", server.url, TOPICS, up) for n in range(2)]
        with working(*publishers):
            kinds: list[tuple[list[str], Callable[[], dict[str, Any]]]] = [
                (TOPICS, from_the_start),
                (["live:*"], from_the_start),
                (["live:*"], unconsumed),
            ]
            joiners = [Joiner(server.url, up, wanted, request) for wanted, request in kinds]
            for joiner in joiners:
                joiner.start()
            for joiner in joiners:
                joiner.thread.join(120)
                joiner.join()
        assert all(joiner.heard > BACKLOG for joiner in joiners)
        assert "event_failed" not in server.log
        tally.add(
            replays_joined_to_live_delivery_under_load=JOINS * len(joiners),
            times_that_a_joining_client_was_too_slow_and_resumed=sum(
                each.resumed for each in joiners
            ),
            messages_heard_in_and_behind_them=sum(joiner.heard for joiner in joiners),
            messages_published_meanwhile=sum(each.sent for each in publishers),
        )


@pytest.mark.parametrize("cuts", [amount(short=3, full=15)])
def test_a_replay_that_is_cut_off_goes_on_where_it_was(
    tmp_path: Path, any_durability: str, dice: random.Random, cuts: int, tally: Tally
) -> None:
    """The client hangs up in the middle, again and again, while others publish."""
    with RunningServer(tmp_path, durability=any_durability, log_level="info") as server:
        fill(server.url, 5_000)
        up = threading.Event()
        up.set()
        last = dict.fromkeys(TOPICS, 0)
        with working(Fast("fast", server.url, TOPICS, up)):
            for _ in range(cuts):
                with Link(server.url, PIECE) as link:
                    joined = link.subscribe("c", TOPICS, after=last)
                    assert all(topic["recovered"] for topic in joined["topics"])
                    for _ in range(dice.randrange(1, 3_000)):
                        event, message = link.next()
                        if event == "message":
                            assert message["sequence"] == last[message["topic"]] + 1
                            last[message["topic"]] += 1
        assert sum(last.values()) > 0
        tally.add(replays_cut_off_and_resumed=cuts)
