"""`/api/cluster/…`: the nodes, and what is said on their channels."""

from __future__ import annotations

from collections.abc import Mapping

from ..bulletin import MAX_EVENT_BYTES, parse_said
from ..errors import Invalid
from ..node import Node
from ..storage.database import Reader
from ..trends import KEPT_MINUTES, KEPT_SECONDS, MINUTE, TrendsReport, minutes
from ..vitals import METRICS
from ..watching import alerts_of
from ..wire import encode
from .http import Request, Response, json_response, name_of

DEFAULT_SECONDS = 3_600.0
MOST_ROWS = 20_000  # minutes of nodes, in one answer
LATEST = 1e11  # Unix time

OK = Response(b'{"status":"ok"}')


def nodes(node: Node, request: Request) -> Response:
    """The nodes that serve this log; whoever asks lets everybody on `cluster:metrics` know."""
    request.identity.check_admin()
    request.query()
    response = json_response({"nodes": node.cluster.nodes()})
    node.bus.publish("cluster:metrics", response.body)
    return response


def publish_event(node: Node, request: Request) -> Response:
    """Say something on a channel: to all nodes, their clients and other programs. Not stored."""
    request.query()
    node.bulletin.publish(request.identity, parse_said(request.json_body(MAX_EVENT_BYTES)))
    return OK


def alerts(node: Node, request: Request) -> Response:
    """What is wrong now, on any node, and what was, the latest first."""
    request.identity.check_admin()
    request.query()
    return json_response(alerts_of(node.watching.book))


def history(node: Node, request: Request) -> Response:
    """What the nodes measured: by the second where that is still known, else by the minute."""
    request.identity.check_admin()
    query = request.query("node", "metric", "from", "to")
    now = node.clock.now()
    until = _time_of(query, "to", now + 1.0)
    since = _time_of(query, "from", until - DEFAULT_SECONDS)
    metrics = _metrics_of(query)
    name = name_of(query, "node")
    if since >= now - KEPT_SECONDS:
        found = node.watching.trends.seconds(name, metrics, since, until)
        return json_response(TrendsReport(1, since, until, False, found))
    first = max(int(since // MINUTE), int(now // MINUTE) - KEPT_MINUTES)
    last = -int(-until // MINUTE)

    def read(reader: Reader) -> bytes:
        rows = reader.minutes(first, last, name, MOST_ROWS)
        found = minutes(rows, metrics)
        is_all = len(rows) < MOST_ROWS
        return encode(TrendsReport(MINUTE, since, until, not is_all, found))

    return Response(node.readers.read(read))


def _metrics_of(query: Mapping[str, str]) -> tuple[str, ...]:
    wanted = query.get("metric")
    if wanted is None:
        return METRICS
    if wanted not in METRICS:
        raise Invalid(f"`metric` must be one of {', '.join(METRICS)}")
    return (wanted,)


def _time_of(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name)
    if text is None:
        return default
    try:
        at = float(text)
    except ValueError:
        at = -1.0
    if not 0.0 <= at <= LATEST:
        raise Invalid(f"`{name}` must be a Unix time in seconds")
    return at
