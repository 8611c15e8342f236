"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

import logging
from collections import Counter

from .. import logs
from ..errors import RequestError
from ..metrics import CONTENT_TYPE, Exposition, Gauges
from ..node import Node
from .http import Request, Response


def metrics(node: Node, request: Request) -> Response:
    """What the node counts of itself, in the text format of Prometheus."""
    request.identity.check_admin()
    request.query()
    facts = {"version": node.version, "node_id": node.node_id, "epoch": node.epoch}
    exposition = Exposition(node.metrics, facts | {"durability": node.settings.durability})
    return Response(exposition.render(_gauges(node)), content_type=CONTENT_TYPE)


def _gauges(node: Node) -> Gauges:
    return Gauges(
        connections=Counter(client.door for client in node.connections.values()),
        subscriptions=node.hub.subscription_count(),
        topics=_topics(node),
        deliveries=node.hub.deliveries,
        waiting=node.journal.waiting_items,
        waiting_bytes=node.journal.waiting_bytes,
        is_draining=node.is_draining,
    )


def _topics(node: Node) -> int | None:
    """None: the database does not say; the rest is worth telling all the more."""
    try:
        return node.readers.read(lambda reader: reader.topic_count())
    except RequestError as error:
        logs.event(logging.WARNING, "topics_not_counted", reason=error.message)
        return None
