"""What the control panel shows: clients, messages, consumptions, topics, the graph and activity."""

from __future__ import annotations

import msgspec

from ..activity import WINDOWS
from ..errors import Invalid
from ..node import Node
from .http import Request, Response, cursor_of, json_response, limit_of, listing, name_of

MAX_SEARCH_LENGTH = 500


def clients(node: Node, request: Request) -> Response:
    """Live subscriptions, newest first."""
    request.identity.check_admin()
    request.query()
    return json_response(
        [
            {"consumer": s.consumer, "topic": s.topic, "connected_at": s.connected_at}
            for s in node.cluster.subscriptions()
        ]
    )


def messages(node: Node, request: Request) -> Response:
    """Messages of every topic, newest first."""
    request.identity.check_admin()
    query = request.query("limit", "topic", "producer", "q", "before")
    text = query.get("q")
    if text is not None and len(text) > MAX_SEARCH_LENGTH:
        raise Invalid(f"`q` may have {MAX_SEARCH_LENGTH} characters at most")
    limit, topic, producer = limit_of(query), name_of(query, "topic"), name_of(query, "producer")
    before = cursor_of(query)
    found = node.readers.read(lambda r: r.messages(limit + 1, topic, producer, text, before))
    return listing("/messages", query, limit, found)


def consumptions(node: Node, request: Request) -> Response:
    """Consumptions, newest first."""
    request.identity.check_admin()
    query = request.query("limit", "topic", "consumer", "before")
    limit, topic, consumer = limit_of(query), name_of(query, "topic"), name_of(query, "consumer")
    before = cursor_of(query)
    found = node.readers.read(lambda r: r.consumptions(limit + 1, topic, consumer, before))
    return listing("/consumptions", query, limit, found)


def topics(node: Node, request: Request) -> Response:
    """Every topic, by name."""
    request.identity.check_admin()
    request.query()
    return json_response(
        [
            msgspec.structs.asdict(topic) | {"subscribers": node.cluster.count(topic.topic)}
            for topic in node.readers.read(lambda reader: reader.topics())
        ]
    )


def graph(node: Node, request: Request) -> Response:
    """Who sends what to whom: totals of the log, rates of the last seconds, live subscriptions."""
    request.identity.check_admin()
    request.query()
    return json_response(node.graph.state(node.clock.now()))


def activity(node: Node, request: Request) -> Response:
    """How many messages came on each topic in each slot of the last minute, hour or day."""
    request.identity.check_admin()
    query = request.query("window", "limit")
    window = query.get("window", "minute")
    if window not in WINDOWS:
        raise Invalid(f"`window` must be one of {', '.join(WINDOWS)}")
    now = node.clock.now()
    return json_response(node.monitoring.activity.report(window, now, limit_of(query)))
