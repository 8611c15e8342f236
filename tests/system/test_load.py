"""Crowds, floods and giants: what a server must survive without losing anybody else's messages."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator

import pytest

from server import RunningServer

from .clients import Client
from .swarm import open_files, resident_bytes, swarm

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("load")
    with RunningServer(directory, log_level="info", max_message_bytes=20 * MEGABYTE) as server:
        yield server


def pid_of(server: RunningServer) -> int:
    assert server.process is not None
    return server.process.pid


def clients_of(server: RunningServer) -> int:
    return int(server.get("/api/health")["websocket_clients"])


def test_five_thousand_connections_are_served_at_once(crowded: RunningServer) -> None:
    with swarm(crowded.port) as many:
        bees = many.grow(5_000)
        some = bees[::50]
        many.subscribe(some, "crowd")
        assert clients_of(crowded) == 5_000
        assert crowded.publish("crowd", "hello").json() == {"status": "ok"}
        many.until(lambda: all(b'"hello"' in bee.received for bee in some))
    crowded.until(lambda: clients_of(crowded) == 0)


def test_ten_thousand_visits_leave_nothing_behind(crowded: RunningServer) -> None:
    pid = pid_of(crowded)

    def visit(times: int) -> None:
        with swarm(crowded.port) as many:
            for _ in range(times // 500):
                bees = many.grow(500, at_once=500)
                many.subscribe(bees, "visits")
                for number, bee in enumerate(bees):
                    many.remove(bee, by_killing=number % 2 == 0)
        crowded.until(lambda: clients_of(crowded) == 0)

    visit(2_000)
    files, memory = open_files(pid), resident_bytes(pid)
    visit(8_000)
    crowded.until(lambda: open_files(pid) <= files + 2)
    assert crowded.get("/clients") == []
    # 8,000 visits at 1 KB each would show.
    assert resident_bytes(pid) - memory < 8 * MEGABYTE


def test_connections_that_are_killed_at_random_cost_the_others_nothing(
    crowded: RunningServer,
) -> None:
    chance = random.Random(7)
    is_over = threading.Event()
    published: list[int] = []

    def publish() -> None:
        while not is_over.is_set():
            number = len(published)
            crowded.publish("storm", number, message_id=f"s-{number}").raise_for_status()
            published.append(number)

    with swarm(crowded.port) as many, Client(crowded.url) as witness:
        witness.subscribe("storm", consumer="witness")
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            for _ in range(10):
                many.subscribe(many.grow(200), "storm")
                for bee in chance.sample(many.bees, len(many.bees) * 2 // 3):
                    many.remove(bee, by_killing=chance.random() < 0.5)
        finally:
            is_over.set()
            publisher.join()
        assert [m["message"] for m in witness.messages(len(published))] == published
    crowded.until(lambda: clients_of(crowded) == 0)


def test_a_message_of_sixteen_megabytes_arrives(crowded: RunningServer) -> None:
    giant = "x" * (16 * MEGABYTE)
    with swarm(crowded.port) as many:
        (bee,) = many.grow(1)
        many.subscribe([bee], "giants")
        assert crowded.publish("giants", giant).json() == {"status": "ok"}
        many.until(lambda: len(bee.received) > 16 * MEGABYTE)
        assert giant.encode() in bee.received
        assert bee.is_open
    assert crowded.get("/topics/giants/messages")["messages"][0]["message"] == giant


def test_a_burst_that_is_larger_than_every_buffer_reaches_a_reader_whole(
    crowded: RunningServer,
) -> None:
    batch = [
        {"topic": "burst", "message_id": f"b-{n}", "message": "y" * 2_000, "producer": "p"}
        for n in range(10_000)
    ]
    with swarm(crowded.port) as many:
        (reader,) = many.grow(1)
        many.subscribe([reader], "burst")
        posting = threading.Thread(
            target=lambda: crowded.http.post(
                crowded.url + "/publish/batch", json=batch, timeout=60
            ).raise_for_status()
        )
        posting.start()
        many.until(lambda: b'"sequence":10000}' in reader.received[-1_000:])
        posting.join()
        sequences = [int(n) for n in re.findall(rb'"sequence":(\d+)}', bytes(reader.received))]
    assert sequences == list(range(1, 10_001))


def test_who_stops_reading_is_cut_off_and_resumes_where_it_was(crowded: RunningServer) -> None:
    """20,000 messages of 2 KB to a reader that does not read."""
    pid = pid_of(crowded)
    with swarm(crowded.port) as many:
        (sleeper,) = many.grow(1)
        many.subscribe([sleeper], "flood")
        before = resident_bytes(pid)
        for start in range(0, 20_000, 1_000):
            batch = [
                {"topic": "flood", "message_id": f"f-{n}", "message": "z" * 2_000, "producer": "p"}
                for n in range(start, start + 1_000)
            ]
            crowded.http.post(
                crowded.url + "/publish/batch",
                data=json.dumps(batch),
                timeout=60,
                headers={"Content-Type": "application/json"},
            ).raise_for_status()
        crowded.until(lambda: clients_of(crowded) == 0)
        assert resident_bytes(pid) - before < 100 * MEGABYTE
    with Client(crowded.url) as again:
        joined = again.subscribe("flood", after=12_345)
        assert joined["topics"][0]["recovered"] is True
        sequences = [m["sequence"] for m in again.messages(20_000 - 12_345)]
    assert sequences == list(range(12_346, 20_001))
