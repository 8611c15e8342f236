"""Which nodes are there: a key for each, which expires unless its node renews it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .bus import Card
from .redis_link import connect

CARD_SECONDS = 8  # a node that is killed is gone after this
# When Redis was emptied, it takes the others a moment to show themselves again.
BELIEF_SECONDS = 4.5


class Registry:
    """Used by one native thread at a time. Raises what `redis` raises."""

    def __init__(self, url: str, log_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = connect(url, "pubsub-server")
        self._prefix = f"pubsub:{log_id}"
        self._clock = clock
        self._believed_until = 0.0
        self._is_shown = False  # whether this node's card was ever there
        self._shown_version: str | None = None
        self._seen: dict[str, Card] = {}

    def exchange(self, card: Card) -> Sequence[Card]:
        others = self._show(card)
        return self._look(others)

    def withdraw(self, node_id: str) -> None:
        pipeline = self._client.pipeline()
        pipeline.delete(self._key(node_id))
        pipeline.srem(f"{self._prefix}:nodes", node_id)
        pipeline.execute()

    def close(self) -> None:
        self._client.close()

    def _show(self, card: Card) -> list[str]:
        """Renew the own card; the other nodes that may be there."""
        key = self._key(card.node_id)
        facts: dict[Any, Any] = {"facts": card.facts, "version": card.version}
        if card.version != self._shown_version:
            facts["clients"] = card.clients
        pipeline = self._client.pipeline()
        pipeline.hset(key, mapping=facts)
        pipeline.hexists(key, "clients")
        pipeline.expire(key, CARD_SECONDS)
        pipeline.sadd(f"{self._prefix}:nodes", card.node_id)
        pipeline.smembers(f"{self._prefix}:nodes")
        self._shown_version = None
        added, is_whole, _, _, members = pipeline.execute()
        if added and self._is_shown:  # Redis was emptied, or the card had expired
            self._believed_until = self._clock() + BELIEF_SECONDS
        if not is_whole:
            self._client.hset(key, mapping={"clients": card.clients})
        self._shown_version = card.version
        self._is_shown = True
        names = [member.decode("utf-8", "replace") for member in members]
        return sorted(name for name in names if name != card.node_id)

    def _look(self, node_ids: Sequence[str]) -> list[Card]:
        pipeline = self._client.pipeline(transaction=False)
        for node_id in node_ids:
            pipeline.hmget(self._key(node_id), "facts", "version")
        found = dict(zip(node_ids, pipeline.execute(), strict=True))
        gone = [node_id for node_id, (facts, _) in found.items() if facts is None]
        if gone:
            self._client.srem(f"{self._prefix}:nodes", *gone)
        cards = dict(self._seen) if self._clock() < self._believed_until else {}
        for node_id, (facts, version_bytes) in found.items():
            if facts is None:
                continue
            version = (version_bytes or b"").decode("utf-8", "replace")
            known = self._seen.get(node_id)
            if known is not None and known.version == version:
                clients = known.clients
            else:
                clients = self._clients(node_id)
            cards[node_id] = Card(node_id, facts, version, clients)
        self._seen = cards
        return list(cards.values())

    def _clients(self, node_id: str) -> bytes:
        found: Any = self._client.hget(self._key(node_id), "clients")
        return found or b""

    def _key(self, node_id: str) -> str:
        return f"{self._prefix}:node:{node_id}"
