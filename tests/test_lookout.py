"""Nodes that are gone without a word, silent topics, consumers that lag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from python_pubsub_server.alerts import Thresholds
from python_pubsub_server.cards import NodeFacts
from python_pubsub_server.lookout import (
    FORGET_SECONDS,
    GRACE_SECONDS,
    STILL_SECONDS,
    LogLookout,
    Lookout,
)
from python_pubsub_server.model import Claim
from python_pubsub_server.storage.database import open_database
from samples import facts
from stories import Storage, draft

A, B, C = facts("a", 1.0), facts("b", 2.0), facts("c", 3.0)


class Tower:
    """A lookout that looks once a second."""

    def __init__(self) -> None:
        self.lookout = Lookout("a", 0.0)
        self.now = 0.0
        self.places: dict[str, str] = {}  # of those that are not alone on their host

    def look(
        self, *nodes: NodeFacts, bus: str | None = None, after: float = 1.0
    ) -> list[str | None]:
        self.now += after
        self.lookout.look(nodes, self.places, bus, self.now)
        return [wrong.node for wrong in self.lookout.lost()]


@pytest.fixture
def tower() -> Tower:
    tower = Tower()
    assert tower.look(A) == []
    assert tower.look(A, B, C) == []
    return tower


def test_a_node_that_is_gone_without_a_word_is_lost_until_it_is_back(tower: Tower) -> None:
    assert tower.look(A, C) == ["b"]
    assert tower.look(A) == ["b", "c"]
    assert "host-b" in tower.lookout.lost()[0].text
    assert tower.look(A, B) == ["c"]
    assert tower.look(A, B, C) == []


def test_a_node_is_not_lost_again_until_one_sees_that_it_is_back(tower: Tower) -> None:
    assert tower.look(A) == ["b", "c"]
    tower.lookout.lost_no_more("b", tower.now)
    assert tower.look(A) == ["c"]
    assert tower.look(A, B) == ["c"]  # no new one, which would replace the other
    assert tower.look(A) == ["c", "b"]


def test_a_loss_that_only_others_saw_lasts_until_the_node_is_back_or_replaced(tower: Tower) -> None:
    tower.lookout.was_lost("x", "x is gone", tower.now)
    assert tower.look(A, B, C) == ["x"]
    assert tower.lookout.lost()[0].text == "x is gone"
    assert tower.look(A, B, C, facts("x", 0.5)) == []
    tower.lookout.was_lost("y", "y is gone", tower.now)
    assert tower.look(A, B, C, facts("x", 0.5)) == ["y"]
    assert tower.look(A, B, C, facts("x", 0.5), facts("d", 9.0)) == []


def test_what_is_seen_here_counts_more_than_what_others_tell(tower: Tower) -> None:
    tower.lookout.said_goodbye("c", tower.now)
    assert tower.look(A, B) == []
    for name in "abc":
        tower.lookout.was_lost(name, "gone", tower.now)
    assert tower.look(A, B) == []


def test_a_loss_that_is_over_does_not_begin_again_by_a_late_report(tower: Tower) -> None:
    assert tower.look(A, C) == ["b"]
    tower.lookout.lost_no_more("b", tower.now)
    tower.lookout.was_lost("b", "gone", tower.now)
    assert tower.look(A, C) == []


def test_a_node_that_said_goodbye_or_was_stopping_is_not_lost(tower: Tower) -> None:
    tower.lookout.said_goodbye("b", tower.now)
    assert tower.look(A, facts("c", 3.0, status="draining")) == []
    assert tower.look(A) == []


def test_a_new_node_replaces_a_lost_one_first_of_its_own_host(tower: Tower) -> None:
    assert tower.look(A) == ["b", "c"]
    assert tower.look(A, facts("d", 9.0, host="host-c")) == ["b"]
    assert tower.look(A, facts("d", 9.0, host="host-c"), facts("e", 10.0)) == []


def test_a_node_that_was_started_again_at_once_is_not_lost(tower: Tower) -> None:
    again = facts("d", 1_001.0, host="host-c")
    assert tower.look(A, B, C, again) == []
    assert tower.look(A, B, again) == []
    assert tower.look(A, again) == ["b"]


def test_a_node_that_came_before_is_no_successor(tower: Tower) -> None:
    other = facts("d", 900.0, host="host-c")
    gone = facts("e", 1_001.0, host="host-c")
    assert tower.look(A, B, C, other, gone) == []
    assert tower.look(A, B, other) == ["c", "e"]


def test_a_node_that_dies_as_another_one_starts_beside_it_is_lost(tower: Tower) -> None:
    tower.places = {"b": "host-b:5000", "d": "host-b:5001", "e": "host-b:5000"}
    beside = facts("d", 1_001.0, host="host-b")
    assert tower.look(A, B, C, beside) == []
    assert tower.look(A, C, beside) == ["b"]
    assert tower.look(A, C, beside, facts("e", 1_002.0, host="host-b")) == []


def test_of_lost_nodes_the_one_that_ran_there_is_replaced_first(tower: Tower) -> None:
    tower.places = {"b": "h:1", "c": "h:2", "d": "h:2"}
    beside = facts("c", 3.0, host="host-b")
    assert tower.look(A, B, beside) == []
    assert tower.look(A) == ["b", "c"]
    assert tower.look(A, facts("d", 9.0, host="host-b")) == ["b"]


def test_a_successor_that_is_seen_as_the_loss_is_counts(tower: Tower) -> None:
    assert tower.look(A, B, facts("d", 1_001.0)) == []


def test_a_lost_node_is_given_up_in_the_end(tower: Tower) -> None:
    assert tower.look(A, C) == ["b"]
    for _ in range(int(FORGET_SECONDS // STILL_SECONDS) - 1):
        assert tower.look(A, C, after=STILL_SECONDS) == ["b"]
    tower.look(A, C, after=STILL_SECONDS)
    assert tower.look(A, C, after=STILL_SECONDS) == []


def test_a_node_that_dies_soon_after_the_first_began_is_lost() -> None:
    tower = Tower()
    assert tower.look(A, bus="not connected yet") == []
    assert tower.lookout.is_blind(tower.now)
    assert tower.look(A, B) == []
    assert not tower.lookout.is_blind(tower.now)
    assert tower.look(A) == ["b"]


def test_nobody_is_lost_because_the_bus_is(tower: Tower) -> None:
    assert tower.look(A, bus="Connection refused") == []
    assert tower.lookout.is_blind(tower.now)
    assert tower.look(A) == []  # it is back, and the others have not shown themselves yet
    assert tower.look(A, B) == []
    for _ in range(int(GRACE_SECONDS)):
        found = tower.look(A, B)
    assert found == ["c"]


def test_nobody_is_lost_because_this_node_stood_still(tower: Tower) -> None:
    assert tower.look(A, after=STILL_SECONDS + 1) == []
    assert tower.look(A, B, C) == []


def test_the_oldest_tells() -> None:
    lookout = Lookout("a", 0.0)
    assert lookout.is_oldest([A, B])
    assert not lookout.is_oldest([B, A])
    assert not lookout.is_oldest([])


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    story = Storage(open_database(f"sqlite:///{tmp_path}/pubsub.db"))
    yield story
    story.close()


def test_a_topic_may_be_silent_for_its_time(storage: Storage) -> None:
    lookout = LogLookout(Thresholds(silent=[("orders", 60.0), ("never", 30.0)]), 1_000.0)
    assert lookout.has_work
    storage.publish(draft("orders"), at=1_010.0)
    assert lookout.look(storage.reader, 1_030.0) == []
    (never,) = lookout.look(storage.reader, 1_031.0)
    assert (never.kind, never.subject, never.node) == ("topic_silent", "never", None)
    assert len(lookout.look(storage.reader, 1_070.0)) == 1
    assert len(lookout.look(storage.reader, 1_071.0)) == 2
    storage.publish(draft("orders", "m2"), at=1_072.0)
    assert len(lookout.look(storage.reader, 1_073.0)) == 1


def test_a_consumer_may_be_so_far_behind(storage: Storage) -> None:
    lookout = LogLookout(Thresholds(lag_messages=2), 1_000.0)
    storage.publish(*(draft("orders", f"m{n}") for n in range(4)))
    storage.claim(Claim("billing", "orders", "m1"), Claim("stock", "orders", "m0"))
    (behind,) = lookout.look(storage.reader, 1_000.0)
    assert (behind.kind, behind.subject) == ("consumer_lag", "stock on orders")
    storage.claim(Claim("stock", "orders", "m3"))
    assert lookout.look(storage.reader, 1_000.0) == []


def test_without_thresholds_the_log_is_not_looked_at() -> None:
    assert not LogLookout(Thresholds(), 0.0).has_work
