"""What nodes show each other of themselves, on the cards that they exchange by the bus."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from . import logs
from .bus.bus import Card
from .elsewhere import Listening, Seat


class NodeFacts(msgspec.Struct, frozen=True):
    """A line of `GET /api/cluster/nodes`."""

    node_id: str
    host: str
    pid: int
    status: str
    started_at: float
    last_seen: float
    connections: int
    subscriptions: int
    messages_per_second: float
    deliveries_per_second: float
    cpu_percent: float
    memory_mb: float


class Shown(msgspec.Struct, frozen=True):
    """Who is connected to a node: the subscriptions, and the users of the chat's rooms.

    And the place where it runs, in which there is room for one node at a time.
    """

    listening: Sequence[Listening] = ()
    rooms: Mapping[str, Sequence[Seat]] = {}
    place: str | None = None


class Seen(msgspec.Struct, frozen=True):
    """What another node showed."""

    facts: NodeFacts
    version: str
    shown: Shown


def read_cards(cards: Iterable[Card], before: Mapping[str, Seen]) -> dict[str, Seen]:
    """What other nodes show, by node. What was read `before` in the same version is the same."""
    seen: dict[str, Seen] = {}
    for card in cards:
        known = before.get(card.node_id)
        try:
            if known is not None and known.version == card.version:
                shown = known.shown
            else:
                shown = msgspec.json.decode(card.clients or b"{}", type=Shown)
            facts = msgspec.json.decode(card.facts, type=NodeFacts)
        except msgspec.MsgspecError as error:
            reason = str(error)
            logs.event(logging.WARNING, "card_not_understood", node=card.node_id, reason=reason)
            continue
        seen[card.node_id] = Seen(facts, card.version, shown)
    return seen
