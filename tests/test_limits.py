"""Whose share something is, and how many topics a publisher may begin."""

from __future__ import annotations

import pytest
from msgspec import Raw

from python_pubsub_server import limits as module
from python_pubsub_server.errors import RateLimited
from python_pubsub_server.identity import SERVER, Identity
from python_pubsub_server.limits import Limits, NewTopics, holder_at, holder_of
from python_pubsub_server.metrics import Metrics
from python_pubsub_server.model import Message, Published
from python_pubsub_server.quota import Quota

ANN = Identity("10.0.0.1", "ann")
BOB = Identity("10.0.0.1", "bob")


class Tasks:
    """A runtime on which what is spawned runs when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[object, ...]] = []

    def spawn(self, function: object, *args: object) -> None:
        self.waiting.append((function, *args))

    def run(self) -> None:
        while self.waiting:
            function, *args = self.waiting.pop()
            function(*args)  # type: ignore[operator]


def began(*topics: str, sequence: int = 1, duplicate: bool = False) -> list[Published]:
    return [
        Published(Message(topic, "1", Raw(b"1"), "p", 1.0, sequence), duplicate) for topic in topics
    ]


@pytest.mark.parametrize(
    ("address", "holder"),
    [
        ("10.0.0.1", "address:10.0.0.1"),
        ("::ffff:10.0.0.1", "address:10.0.0.1"),
        ("2001:db8::1", "address:2001:db8::/64"),
        ("2001:db8::ffff:1", "address:2001:db8::/64"),
        ("2001:db8:0:1::1", "address:2001:db8:0:1::/64"),
        ("::1", "address:::1"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("", "address:"),
    ],
)
def test_who_is_at_an_address(address: str, holder: str) -> None:
    assert holder_at(address) == holder


def test_a_user_has_its_share_wherever_it_is() -> None:
    assert holder_of(ANN) == holder_of(Identity("10.9.9.9", "ann")) != holder_of(BOB)


def test_rates_are_taken_from_the_user_and_refusals_counted() -> None:
    metrics = Metrics()
    limits = Limits(metrics, publishing=Quota("3/day", "messages", lambda: 1.0))
    limits.publish(ANN, ["a", "a"])
    with pytest.raises(RateLimited):
        limits.publish(ANN, ["a", "b"])
    limits.publish(ANN, ["a"])
    limits.publish(BOB, ["a", "a", "a"])
    limits.publish(SERVER, ["a"] * 10)
    assert metrics.limits == {"publish_rate": 1}


def test_connections_are_taken_from_whom_the_door_says() -> None:
    metrics = Metrics()
    limits = Limits(metrics, connecting=Quota("1/day", "connections", lambda: 1.0))
    limits.connect("one")
    limits.connect("other")
    with pytest.raises(RateLimited):
        limits.connect("one")
    assert metrics.limits == {"connect_rate": 1}


def test_where_nothing_is_limited_nothing_is_refused() -> None:
    metrics = Metrics()
    limits = Limits(metrics)
    limits.publish(ANN, ["a"] * 10_000)
    limits.published(ANN, began("a"))
    limits.connect("one")
    assert metrics.limits == {}


def test_a_publisher_begins_so_many_topics_and_goes_on_with_them() -> None:
    there = {"a", "b", "c", "old"}
    tasks = Tasks()
    metrics = Metrics()
    topics = NewTopics(3, there.__contains__, tasks)  # type: ignore[arg-type]
    limits = Limits(metrics, topics=topics)
    for topic in ("a", "b", "c"):
        limits.publish(ANN, [topic])
        limits.published(ANN, began(topic))
    for topic, is_there in (("a", True), ("old", True), ("new", False)):
        with pytest.raises(RateLimited) as refused:
            limits.publish(ANN, [topic])
        assert refused.value.retry_after == 1
        tasks.run()
        if is_there:
            limits.publish(ANN, [topic])
        else:
            with pytest.raises(RateLimited):
                limits.publish(ANN, [topic])
    limits.publish(BOB, ["new"])
    assert metrics.limits == {"topics": 4}


def test_only_topics_that_a_message_began_count() -> None:
    topics = NewTopics(2, lambda topic: False, Tasks())  # type: ignore[arg-type]
    topics.note(ANN, began("a"))
    topics.note(ANN, began("a", duplicate=True))
    topics.note(ANN, began("b", sequence=2))
    assert not topics.full
    topics.note(ANN, began("b"))
    assert topics.full == {"user:ann"}


@pytest.mark.parametrize("identity", [SERVER, Identity("127.0.0.1"), Identity("::1")])
def test_the_server_and_its_own_machine_may_begin_any_number(identity: Identity) -> None:
    topics = NewTopics(1, lambda topic: False, Tasks())  # type: ignore[arg-type]
    topics.note(identity, began("a", "b"))
    assert not topics.full


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PUBLISHERS", 10)
    tasks = Tasks()
    topics = NewTopics(1, lambda topic: True, tasks, max_known=5)  # type: ignore[arg-type]
    for number in range(50):
        topics.note(Identity("10.0.0.1", str(number)), began("a"))
    assert len(topics.full) == 10
    for number in range(100):
        with pytest.raises(RateLimited):
            topics.check(Identity("10.0.0.1", "49"), [f"t{number}"])
    assert len(tasks.waiting) == module.MAX_LOOKS
    tasks.run()
    assert len(topics._known) == 5
