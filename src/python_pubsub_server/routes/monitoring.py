"""What the control panel shows: clients, messages, consumptions, topics, the graph and activity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec

from ..activity import WINDOWS
from ..errors import Invalid
from ..model import is_pattern, matches
from ..node import Node
from .http import Request, Response, json_response, limit_of, name_of, number_of

MAX_EDGES = 2_000
MAX_SEARCH_LENGTH = 500


def clients(node: Node, request: Request) -> Response:
    """Live subscriptions, newest first."""
    request.query()
    return json_response(
        [
            {"consumer": s.consumer, "topic": s.topic, "connected_at": s.connected_at}
            for s in node.hub.subscriptions()
        ]
    )


def messages(node: Node, request: Request) -> Response:
    """Messages of every topic, newest first."""
    query = request.query("limit", "topic", "producer", "q", "before")
    text = query.get("q")
    if text is not None and len(text) > MAX_SEARCH_LENGTH:
        raise Invalid(f"`q` may have {MAX_SEARCH_LENGTH} characters at most")
    limit, topic, producer = limit_of(query), name_of(query, "topic"), name_of(query, "producer")
    before = _before(query)
    found = node.readers.read(lambda r: r.messages(limit + 1, topic, producer, text, before))
    return _listing("/messages", query, limit, found)


def consumptions(node: Node, request: Request) -> Response:
    """Consumptions, newest first."""
    query = request.query("limit", "topic", "consumer", "before")
    limit, topic, consumer = limit_of(query), name_of(query, "topic"), name_of(query, "consumer")
    before = _before(query)
    found = node.readers.read(lambda r: r.consumptions(limit + 1, topic, consumer, before))
    return _listing("/consumptions", query, limit, found)


def topics(node: Node, request: Request) -> Response:
    """Every topic, by name."""
    request.query()
    return json_response(
        [
            msgspec.structs.asdict(topic) | {"subscribers": node.hub.count(topic.topic)}
            for topic in node.readers.read(lambda reader: reader.topics())
        ]
    )


def graph(node: Node, request: Request) -> Response:
    """Who sends what to whom: totals of the log, rates of the last seconds, live subscriptions."""
    request.query()
    published, consumed = node.readers.read(
        lambda r: (r.publish_edges(MAX_EDGES), r.consume_edges(MAX_EDGES))
    )
    now = node.clock.now()
    links = [
        _link(
            edge.name,
            edge.topic,
            "publish",
            edge.count,
            node.rates.rate(("publish", edge.name, edge.topic), now),
        )
        for edge in published
    ]
    known = {edge.topic for edge in published}
    totals = {(edge.name, edge.topic): edge.count for edge in consumed}
    for name, topic in islice(_listening(node, known), MAX_EDGES):
        totals.setdefault((name, topic), 0)
    links += [
        _link(topic, name, "consume", count, node.rates.rate(("consume", name, topic), now))
        for (name, topic), count in totals.items()
    ]
    return json_response(
        {
            "producers": sorted({edge.name for edge in published}),
            "consumers": sorted({name for name, _ in totals}),
            "topics": sorted(known | {topic for _, topic in totals}),
            "links": links,
        }
    )


def activity(node: Node, request: Request) -> Response:
    """How many messages came on each topic in each slot of the last minute, hour or day."""
    query = request.query("window", "limit")
    window = query.get("window", "minute")
    if window not in WINDOWS:
        raise Invalid(f"`window` must be one of {', '.join(WINDOWS)}")
    now = node.clock.now()
    return json_response(node.monitoring.activity.report(window, now, limit_of(query)))


def _listening(node: Node, known: set[str]) -> Iterator[tuple[str, str]]:
    """Who listens to which topic now; a pattern is each of the known topics that it covers."""
    covered: dict[str, list[str]] = {}
    for subscription in node.hub.subscriptions():
        wanted = subscription.topic
        if wanted not in covered:
            covered[wanted] = [t for t in known if matches(wanted, t)] or (
                [] if is_pattern(wanted) else [wanted]
            )
        for topic in covered[wanted]:
            yield subscription.consumer, topic


def _link(source: str, target: str, kind: str, count: int, rate: float) -> dict[str, Any]:
    return {
        "source": source,
        "target": target,
        "type": kind,
        "count": count,
        "rate": round(rate, 3),
    }


def _before(query: Mapping[str, str]) -> int | None:
    return number_of(query, "before", 0, minimum=1) if "before" in query else None


def _listing(
    path: str, query: Mapping[str, str], limit: int, found: Sequence[tuple[int, object]]
) -> Response:
    """A page of a list, of which one row more was looked for; a link to the rest (RFC 8288)."""
    rows = [row for _, row in found[:limit]]
    if len(found) <= limit:
        return json_response(rows)
    cursor = urlencode({**query, "before": str(found[limit - 1][0])})
    return json_response(rows, ("Link", f'<{path}?{cursor}>; rel="next"'))
