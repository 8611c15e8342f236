"""Who sends what to whom: totals of the log, rates of the last seconds, and who listens now.

Which links are shown does not change from one look to the next without a reason: those that were
in use in the last hour come first, in a fixed order, then the others, the most recent first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, takewhile
from typing import Protocol

import msgspec

from .model import Edge, Interest, is_pattern, matches
from .rates import Rates
from .storage.database import Reader
from .storage.readers import Readers

MAX_LINKS = 2_000  # of each type
IN_USE_SECONDS = 3_600.0


class Link(msgspec.Struct, frozen=True):
    """From a producer to a topic (`publish`), or from a topic to a consumer (`consume`)."""

    source: str
    target: str
    type: str
    count: int
    rate: float


class ConsumeLink(Link, frozen=True):
    """`lag`: messages behind the newest one that the consumer confirmed, None if it confirmed none.

    `live`: whether it listens now.
    """

    lag: int | None
    live: bool


class GraphState(msgspec.Struct, frozen=True):
    """The graph; `truncated` if there are more links than are shown."""

    producers: Sequence[str]
    consumers: Sequence[str]
    topics: Sequence[str]
    links: Sequence[Link]
    truncated: bool


class Stored(msgspec.Struct, frozen=True):
    """What the log knows, one link more than is shown."""

    published: Sequence[Edge]
    consumed: Sequence[Edge]
    interests: Sequence[Interest]


class Listens(Protocol):
    """A live subscription."""

    @property
    def consumer(self) -> str: ...

    @property
    def topic(self) -> str: ...


class Listeners(Protocol):
    """Who knows the live subscriptions."""

    def subscriptions(self) -> Sequence[Listens]:
        """Newest first."""


class Graph:
    """The use case of looking at the whole."""

    def __init__(
        self, readers: Readers, listeners: Listeners, rates: Rates, max_links: int = MAX_LINKS
    ) -> None:
        self._readers = readers
        self._listeners = listeners
        self._rates = rates
        self._max_links = max_links  # of each type

    def state(self, now: float) -> GraphState:
        stored = self._readers.read(lambda reader: reader.snapshot(self._stored(now)))
        published = stored.published[: self._max_links]
        consumed = {(edge.name, edge.topic): edge for edge in stored.consumed}
        topics = Topics({edge.topic for edge in (*published, *stored.consumed)})
        live = self._live(topics)
        # Keys of a dictionary are a set that keeps its order.
        everybody = dict.fromkeys(chain(live, consumed, self._wanted(stored.interests, topics)))
        pairs = list(everybody)[: self._max_links]
        links: list[Link] = [self._publish_link(edge, now) for edge in published]
        links += [self._consume_link(*p, consumed.get(p), p in live, now) for p in pairs]
        return GraphState(
            producers=sorted({edge.name for edge in published}),
            consumers=sorted({name for name, _ in pairs}),
            topics=sorted({e.topic for e in published} | {topic for _, topic in pairs}),
            links=links,
            truncated=max(len(stored.published), len(everybody)) > self._max_links,
        )

    def _stored(self, now: float) -> Callable[[Reader], Stored]:
        since, limit = now - IN_USE_SECONDS, self._max_links + 1
        return lambda reader: Stored(
            reader.publish_edges(limit, since),
            reader.consume_edges(limit, since),
            reader.interests(limit),
        )

    def _live(self, topics: Topics) -> dict[tuple[str, str], None]:
        """Who listens to which topic now; a pattern is each of the topics that it covers.

        Those that came first are first, so that a newcomer pushes nobody out.
        """
        pairs = (
            (subscription.consumer, topic)
            for subscription in reversed(self._listeners.subscriptions())
            for topic in topics.covered(subscription.topic)
        )
        return dict.fromkeys(islice(pairs, self._max_links + 1))

    def _wanted(self, interests: Sequence[Interest], topics: Topics) -> Iterator[tuple[str, str]]:
        """Who wanted which topic at some time, be it here or not; some, if it is very many."""
        pairs = ((one.consumer, topic) for one in interests for topic in topics.covered(one.topic))
        return islice(pairs, 5 * self._max_links)

    def _publish_link(self, edge: Edge, now: float) -> Link:
        rate = self._rates.rate(("publish", edge.name, edge.topic), now)
        return Link(edge.name, edge.topic, "publish", edge.count, round(rate, 3))

    def _consume_link(
        self, name: str, topic: str, edge: Edge | None, live: bool, now: float
    ) -> ConsumeLink:
        rate = round(self._rates.rate(("consume", name, topic), now), 3)
        count, lag = (edge.count, edge.lag) if edge else (0, None)
        return ConsumeLink(topic, name, "consume", count, rate, lag, live)


class Topics:
    """The topics of a graph, and which of them a pattern covers."""

    def __init__(self, names: set[str]) -> None:
        self._sorted = sorted(names)
        self._covered: dict[str, Sequence[str]] = {}

    def covered(self, wanted: str) -> Sequence[str]:
        """The topics that a topic or pattern stands for: itself, or what there is."""
        if not is_pattern(wanted):
            return (wanted,)
        if wanted not in self._covered:
            self._covered[wanted] = list(self._matching(wanted))
        return self._covered[wanted]

    def _matching(self, pattern: str) -> Iterator[str]:
        prefix = pattern[:-1]
        behind = islice(self._sorted, bisect_left(self._sorted, prefix), None)
        alike = takewhile(lambda topic: topic.startswith(prefix), behind)
        return (topic for topic in alike if matches(pattern, topic))
