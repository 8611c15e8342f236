"""The graph: whose links it shows, who is away, and that it does not change without a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connections import Someone
from loops import PATIENCE, tell_story
from python_pubsub_server.graph import IN_USE_SECONDS, ConsumeLink, Graph, GraphState
from python_pubsub_server.hub import Hub
from python_pubsub_server.model import Claim, Interest
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import open_database
from python_pubsub_server.storage.readers import Readers
from stories import Storage, draft

NOW = 10_000.0
MOST = 4


class Story:
    def __init__(self, runtime: Runtime, path: Path) -> None:
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.log = Storage(database)
        self.hub = Hub()
        self.readers = Readers(database, runtime)
        self.graph = Graph(self.readers, self.hub, Rates(), max_links=MOST)

    def listen(self, name: str, *topics: str, at: float = 1.0) -> None:
        subscriber = self.hub.add(Someone(name))
        subscriber.consumer = name
        for topic in topics:
            self.hub.join(subscriber, topic, at)

    def consumers(self) -> dict[tuple[str, str], ConsumeLink]:
        links = self.graph.state(NOW).links
        return {(link.target, link.source): link for link in links if isinstance(link, ConsumeLink)}

    def producers(self) -> list[str]:
        return [link.source for link in self.graph.state(NOW).links if link.type == "publish"]

    def close(self) -> None:
        self.readers.close(PATIENCE)
        self.log.close()


@pytest.fixture
def tell(tmp_path: Path) -> Callable[[Callable[[Story], Any]], Any]:
    return lambda tale: tell_story(lambda runtime: Story(runtime, tmp_path), tale)


Tell = Callable[[Callable[[Story], Any]], Any]


def test_who_never_confirmed_stays_when_it_is_gone(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.log.publish(draft("a:1"), draft("a:2"), at=NOW)
        wanted = (Interest("gone", "a:*"), Interest("here", "a:1"), Interest("gone", "unheard"))
        story.log.commit(interests=wanted, at=NOW)
        story.listen("here", "a:1")
        found = story.consumers()
        assert {pair: link.live for pair, link in found.items()} == {
            ("here", "a:1"): True,
            ("gone", "a:1"): False,
            ("gone", "a:2"): False,
            ("gone", "unheard"): False,
        }
        assert all(link.lag is None and link.count == 0 for link in found.values())

    tell(tale)


def test_a_link_says_how_far_its_consumer_is_behind(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.log.publish(*(draft("a", f"m{n}", n) for n in range(5)), at=NOW)
        story.log.claim(Claim("ann", "a", "m1"))
        story.listen("ann", "a")
        (link,) = story.consumers().values()
        assert (link.lag, link.count, link.live) == (3, 1, True)

    tell(tale)


def test_links_in_use_are_the_same_ones_however_they_take_turns(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.log.publish(draft("old", producer="old"), at=NOW - 2 * IN_USE_SECONDS)
        for number in range(MOST + 2):
            story.log.publish(draft("a", producer=f"p{number}"), at=NOW - 10 + number)
        before = story.producers()
        assert before == [f"p{number}" for number in range(MOST)]
        for number in (5, 0, 3):
            story.log.publish(draft("a", f"again {number}", producer=f"p{number}"), at=NOW)
            assert story.producers() == before
        assert story.graph.state(NOW).truncated

    tell(tale)


def test_a_newcomer_pushes_nobody_out(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for number in range(MOST):
            story.listen(f"c{number}", "a", at=float(number))
        assert not story.graph.state(NOW).truncated
        before = story.consumers()
        story.listen("newcomer", "a", at=99.0)
        assert story.consumers() == before
        assert story.graph.state(NOW).truncated

    tell(tale)


def test_a_pattern_is_every_topic_that_it_covers(tell: Tell) -> None:
    def tale(story: Story) -> GraphState:
        story.log.publish(draft("b"), draft("host:1"), draft("$own"), at=NOW)
        story.listen("all", "*")
        story.listen("hosts", "host:*", "nothing:*")
        pairs = set(story.consumers())
        assert pairs == {("all", "b"), ("all", "host:1"), ("hosts", "host:1")}
        return story.graph.state(NOW)

    state = tell(tale)
    assert state.topics == ["$own", "b", "host:1"]
    assert state.consumers == ["all", "hosts"]
    assert not state.truncated
