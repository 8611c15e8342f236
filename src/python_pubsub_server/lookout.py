"""What is wrong with the cluster as a whole, as every node sees it; the oldest one tells.

So that nobody forgets when that one goes, all of them remember who was there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from .alerts import CONSUMER_LAG, NODE_LOST, TOPIC_SILENT, Thresholds, Wrong
from .cards import NodeFacts
from .cluster import DRAINING
from .storage.database import Reader

# After the bus was away, or this node stood still: others may not have shown themselves yet.
GRACE_SECONDS = 10.0
STILL_SECONDS = 5.0
FORGET_SECONDS = 3_600.0  # a lost node that nothing has replaced
ARRIVAL_SECONDS = 30.0  # in which a node may be missed whose successor is here already
MOST_EDGES = 2_000
MOST_LAGGING = 100


class Noted(msgspec.Struct, frozen=True):
    """A node, where it runs, and when it was seen, came or went."""

    facts: NodeFacts
    place: str
    at: float


class Lost(msgspec.Struct, frozen=True):
    """A node that is gone. Where it ran is None as long as only others have seen it there."""

    text: str
    at: float
    place: str | None = None
    host: str | None = None


class Lookout:
    """Which nodes are gone without a word. Times are a steady clock's."""

    def __init__(self, node_id: str, started_at: float) -> None:
        self._node_id = node_id
        self._clear_at = started_at
        self._is_cut_off = False
        self._looked_at = started_at
        self._known: dict[str, Noted] = {}
        self._lost: dict[str, Lost] = {}
        self._arrived: dict[str, Noted] = {}
        self._left: dict[str, float] = {}
        self._over: dict[str, float] = {}  # lost no more, and not seen here since

    def is_blind(self, now: float) -> bool:
        """Whether what it sees says nothing, because it may not see all."""
        return self._is_cut_off or now < self._clear_at

    def said_goodbye(self, node_id: str, now: float) -> None:
        self._left[node_id] = now

    def was_lost(self, node_id: str, text: str, now: float) -> None:
        """Another node told so: this one may have come too late, or slept too long, to see it."""
        is_known = node_id == self._node_id or node_id in self._known
        if not (is_known or node_id in self._over or node_id in self._left):
            self._lost.setdefault(node_id, Lost(text, now))

    def lost_no_more(self, node_id: str, now: float) -> None:
        """It is back, or replaced, or given up: as seen here, or as another node told."""
        self._lost.pop(node_id, None)
        self._over[node_id] = now

    def look(
        self, nodes: Sequence[NodeFacts], places: Mapping[str, str], bus: str | None, now: float
    ) -> None:
        """Compare who is there with who was. `places` is where each node runs."""
        self._is_cut_off = bus is not None
        # Who has seen nobody yet, as at its start, cannot miss anybody: it need not wait to see.
        if (self._is_cut_off or now - self._looked_at > STILL_SECONDS) and len(self._known) > 1:
            self._clear_at = now + GRACE_SECONDS
        self._looked_at = now
        if self.is_blind(now):
            return
        there = {
            node.node_id: Noted(node, places.get(node.node_id, node.host), now) for node in nodes
        }
        back = there.keys() & (self._lost.keys() | self._over.keys())
        for node_id in back:
            self._lost.pop(node_id, None)
            self._over.pop(node_id, None)
        new = [there[name] for name in there if name not in self._known and name not in back]
        has_known = bool(self._known)
        for node_id in [node_id for node_id in self._known if node_id not in there]:
            self._miss(self._known.pop(node_id), there, now)
        for noted in new if has_known else ():
            self._welcome(noted)
        self._known.update(there)
        self._forget(now)

    def lost(self) -> list[Wrong]:
        return [
            Wrong(NODE_LOST, node_id, lost.text, node_id) for node_id, lost in self._lost.items()
        ]

    def is_oldest(self, nodes: Sequence[NodeFacts]) -> bool:
        return bool(nodes) and nodes[0].node_id == self._node_id

    def _miss(self, gone: Noted, there: Collection[str], now: float) -> None:
        """A node is gone: lost, unless it said so or was started again before this was noticed.

        Again is where it ran: there is room for one there, so nobody else is taken for it.
        """
        facts = gone.facts
        if facts.status == DRAINING or facts.node_id in self._left:
            return
        for node_id, arrived in self._arrived.items():
            is_later = arrived.facts.started_at > facts.last_seen
            if node_id in there and arrived.place == gone.place and is_later:
                del self._arrived[node_id]
                return
        text = (
            f"the node {facts.node_id} ({facts.host}, process {facts.pid}) does not answer any more"
        )
        self._lost[facts.node_id] = Lost(text, now, gone.place, facts.host)

    def _welcome(self, new: Noted) -> None:
        """A new node replaces a lost one: of the place where it runs, or of its host, or any."""
        same_place = [i for i, lost in self._lost.items() if lost.place == new.place]
        same_host = [i for i, lost in self._lost.items() if lost.host == new.facts.host]
        if self._lost:
            self.lost_no_more(next(iter(same_place or same_host or self._lost)), new.at)
        else:
            self._arrived[new.facts.node_id] = new

    def _forget(self, now: float) -> None:
        for node_id in [i for i, at in self._left.items() if now - at > FORGET_SECONDS]:
            del self._left[node_id]
        for node_id in [i for i, at in self._over.items() if now - at > FORGET_SECONDS]:
            del self._over[node_id]
        for node_id in [i for i, lost in self._lost.items() if now - lost.at > FORGET_SECONDS]:
            self.lost_no_more(node_id, now)
        for node_id in [i for i, new in self._arrived.items() if now - new.at > ARRIVAL_SECONDS]:
            del self._arrived[node_id]


class LogLookout:
    """What the log tells: topics that are silent too long, consumers that are too far behind."""

    def __init__(self, thresholds: Thresholds, started_at: float) -> None:
        self._thresholds = thresholds
        self._heard = {topic: started_at for topic, _ in thresholds.silent}  # Unix times

    @property
    def has_work(self) -> bool:
        return bool(self._thresholds.silent) or self._thresholds.lag_messages is not None

    def look(self, reader: Reader, now: float) -> list[Wrong]:
        """In a native thread; `now` is the Unix time."""
        return [*self._silent(reader, now), *self._lagging(reader)]

    def _silent(self, reader: Reader, now: float) -> Iterable[Wrong]:
        for topic, seconds in self._thresholds.silent:
            newest = reader.messages(1, topic)
            if newest:
                self._heard[topic] = max(self._heard[topic], newest[0][1].timestamp)
            if now - self._heard[topic] > seconds:
                yield Wrong(TOPIC_SILENT, topic, f"nothing came for more than {seconds:g} seconds")

    def _lagging(self, reader: Reader) -> list[Wrong]:
        most = self._thresholds.lag_messages
        if most is None:
            return []
        edges = reader.consume_edges(MOST_EDGES, 0.0)
        behind = [edge for edge in edges if edge.lag is not None and edge.lag > most]
        behind.sort(key=lambda edge: -(edge.lag or 0))
        return [
            Wrong(
                CONSUMER_LAG,
                f"{edge.name} on {edge.topic}",
                f"{edge.name} has not confirmed more than {most} messages of {edge.topic}",
            )
            for edge in behind[:MOST_LAGGING]
        ]
