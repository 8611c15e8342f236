"""One topic: its messages, a message's ledger, and why a consumer did or did not get one."""

from __future__ import annotations

from ..errors import Invalid
from ..node import Node
from .http import (
    Request,
    Response,
    json_response,
    limit_of,
    name_of,
    number_of,
    seconds_of,
    topic_of,
)

MAX_WAIT_SECONDS = 60


def topic_messages(node: Node, request: Request) -> Response:
    """A topic's messages, oldest first; `wait` long-polls for the next one."""
    query = request.query("after", "limit", "wait")
    page = node.history.page(
        request.identity,
        topic_of(request),
        number_of(query, "after", 0),
        limit_of(query),
        seconds_of(query, "wait", at_most=MAX_WAIT_SECONDS),
    )
    return json_response(page)


def deliveries(node: Node, request: Request) -> Response:
    """Who was sent a message, who confirmed it, and who still has to."""
    request.query()
    sequence = number_of(request.path, "sequence", 0)
    return json_response(node.history.ledger(request.identity, topic_of(request), sequence))


def explain(node: Node, request: Request) -> Response:
    """Why a consumer did or did not get a message."""
    query = request.query("consumer", "sequence")
    consumer = name_of(query, "consumer")
    if consumer is None or "sequence" not in query:
        missing = "consumer" if consumer is None else "sequence"
        raise Invalid(f"Missing parameter: {missing}")
    return json_response(
        node.history.explain(
            request.identity, topic_of(request), number_of(query, "sequence", 0), consumer
        )
    )
