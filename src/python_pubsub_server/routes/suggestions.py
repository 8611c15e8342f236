"""`/api/suggestions/<suggestion_id>`: votes."""

from __future__ import annotations

from ..node import Node
from ..votes import parse_ballot
from .http import Request, Response, json_response
from .notifications import user_of

MAX_BALLOT_BYTES = 4_096


def vote(node: Node, request: Request) -> Response:
    """Set the user's vote; how the suggestion stands then."""
    said = request.query("user").get("user")
    ballot = parse_ballot(request.json_body(MAX_BALLOT_BYTES))
    voter = user_of(request, ballot.user if said is None else said)
    suggestion_id = request.path["suggestion_id"]
    return json_response(node.votes.cast(request.identity, voter, suggestion_id, ballot.value))


def suggestion(node: Node, request: Request) -> Response:
    """How a suggestion stands."""
    request.query()
    return json_response(node.votes.tally(request.identity, request.path["suggestion_id"]))
