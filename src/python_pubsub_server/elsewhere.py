"""What other nodes showed last: who is subscribed to what, and who is in which room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from .model import patterns_of


class Listening(msgspec.Struct, frozen=True, array_like=True):
    """One subscription of a connection; a consumer that gave no name is nobody in particular."""

    connection_id: str
    consumer: str
    topic: str
    connected_at: float
    is_named: bool


class Seat(msgspec.Struct, frozen=True, array_like=True):
    """A user in a room of the chat, or one whose connection was lost there (not `is_here`)."""

    user: str
    status: str
    last_seen: float
    is_here: bool


class Elsewhere:
    """The subscriptions of other nodes. Belongs to the event loop."""

    def __init__(self) -> None:
        self._of_nodes: Mapping[str, Sequence[Listening]] = {}
        self._wanted: dict[str, list[Listening]] = {}  # by topic or pattern

    def replace(self, of_nodes: Mapping[str, Sequence[Listening]]) -> None:
        """What each other node shows now; a node that is not among them is gone."""
        if all(of_nodes.get(node) is found for node, found in self._of_nodes.items()) and len(
            of_nodes
        ) == len(self._of_nodes):
            return
        self._of_nodes = of_nodes
        self._wanted = {}
        for listening in self.subscriptions():
            self._wanted.setdefault(listening.topic, []).append(listening)

    def subscriptions(self) -> Iterator[Listening]:
        for found in self._of_nodes.values():
            yield from found

    def count(self, topic: str) -> int:
        """How many connections are subscribed to a topic, by itself or by a pattern."""
        return len({listening.connection_id for listening in self._covering(topic)})

    def names(self, topic: str) -> set[str]:
        """The named consumers that are subscribed to a topic."""
        return {listening.consumer for listening in self._covering(topic) if listening.is_named}

    def _covering(self, topic: str) -> Iterable[Listening]:
        if self._wanted:
            for wanted in (topic, *patterns_of(topic)):
                yield from self._wanted.get(wanted, ())
