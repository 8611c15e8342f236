"""`/api/notifications`: a user's notifications."""

from __future__ import annotations

from ..errors import Invalid
from ..node import Node
from ..notifications import parse_wanted, topic_of
from .http import Request, Response, cursor_of, json_response, limit_of, listing

TRUTH = {"true": True, "1": True, "false": False, "0": False}


def notify(node: Node, request: Request) -> Response:
    """Store a notification and deliver it to its user."""
    request.query()
    wanted = parse_wanted(request.json_body(node.settings.max_message_bytes))
    return json_response(node.notifications.create(request.identity, wanted), status=201)


def notifications(node: Node, request: Request) -> Response:
    """The user's own, newest first."""
    query = request.query("unread", "limit", "before", "user")
    limit = limit_of(query)
    only_unread = TRUTH.get(query.get("unread", "false").lower())
    if only_unread is None:
        raise Invalid("`unread` must be true or false")
    found = node.notifications.listed(
        user_of(request, query.get("user")),
        limit + 1,
        before=cursor_of(query),
        only_unread=only_unread,
    )
    return listing("/api/notifications", query, limit, found)


def unread_count(node: Node, request: Request) -> Response:
    """How many the user has not read."""
    user = user_of(request, request.query("user").get("user"))
    return json_response({"unread": node.notifications.count_unread(user)})


def user_of(request: Request, said: str | None) -> str:
    """Whom a request speaks for. Raises Invalid, Forbidden."""
    if said is not None:
        topic_of(said, "user")
    return request.identity.user(said)


def mark_read(node: Node, request: Request) -> Response:
    """Mark one as read; the user's other connections are told."""
    user = user_of(request, request.query("user").get("user"))
    notification_id = request.path["notification_id"]
    node.notifications.mark_read(request.identity, user, notification_id)
    return json_response({"status": "ok", "id": notification_id, "read": True})
