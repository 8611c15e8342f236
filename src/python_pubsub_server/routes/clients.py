"""Who is connected: since when, to what, and what waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..hub import Subscriber
from ..node import Client, Node
from ..storage.database import Reader
from .http import Request, Response, json_response, limit_of, name_of

COUNTED_MESSAGES = 1_000  # what is more is not counted
COUNTED_TOPICS = 200


def connected(node: Node, request: Request) -> Response:
    """The connected clients, newest first; with `consumer` its own, and what it has to confirm."""
    request.identity.check_admin()
    query = request.query("consumer", "limit")
    limit, consumer = limit_of(query), name_of(query, "consumer")
    newest = sorted(node.connections.values(), key=lambda one: one.connected_at, reverse=True)
    found = [(each, node.hub.subscriber(each.connection.connection_id)) for each in newest]
    if consumer is None:
        return json_response([_shown(each, subscriber, {}) for each, subscriber in found[:limit]])
    own = [(each, s) for each, s in found if s is not None and s.consumer == consumer][:limit]
    topics = [topic for _, s in own if s.is_named for topic in s.subscriptions]
    if not topics:
        return json_response([_shown(each, subscriber, {}) for each, subscriber in own])
    counts = node.readers.read(lambda r: r.snapshot(lambda s: _unconsumed(s, consumer, topics)))
    return json_response([_shown(each, subscriber, counts) for each, subscriber in own])


def _shown(
    client: Client, subscriber: Subscriber | None, unconsumed: dict[str, int | None]
) -> dict[str, Any]:
    subscriptions = [] if subscriber is None else list(subscriber.subscriptions.values())
    return {
        "connection_id": client.connection.connection_id,
        "consumer": subscriber.consumer if subscriber is not None and subscriptions else None,
        "address": client.connection.address,
        "connected_at": client.connected_at,
        "backlog_bytes": client.connection.backlog,
        "subscriptions": [
            {"topic": one.topic, "connected_at": one.connected_at}
            | ({"unconsumed": unconsumed[one.topic]} if one.topic in unconsumed else {})
            for one in subscriptions
        ],
    }


def _unconsumed(reader: Reader, consumer: str, topics: Sequence[str]) -> dict[str, int | None]:
    """By topic or pattern, what the consumer has not confirmed; None: too many topics to count."""
    counts: dict[str, int | None] = {}
    left = COUNTED_TOPICS
    for wanted in dict.fromkeys(topics):
        covered = [position.topic for position in reader.positions(wanted)]
        left -= len(covered)
        if left < 0:
            counts[wanted] = None
            continue
        total = 0
        for topic in covered:
            if total < COUNTED_MESSAGES:
                room = COUNTED_MESSAGES - total
                total += reader.count_unconsumed(consumer, topic, room)
        counts[wanted] = total
    return counts
