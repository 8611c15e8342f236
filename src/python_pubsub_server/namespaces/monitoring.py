"""The namespace `/monitoring`: for dashboards. What they are told is in `monitoring.py`."""

from __future__ import annotations

from typing import Any

from ..errors import Forbidden
from ..node import Node
from ..transport.connection import Broadcast
from ..wire import encode
from .session import AckId, Session, refresh


def connect(node: Node, session: Session, environ: dict[str, Any]) -> None:
    """Raises Forbidden."""
    session.identity.check_admin()


def subscribe_to_updates(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    session.acknowledge(ack_id, encode({"status": "ok"}))
    node.monitoring.watch(session.connection)


def request_nodes_status(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    """Answered by the event, and by the acknowledgement if there is one."""
    _answer(session, ack_id, "nodes_status_response", {"nodes": node.cluster.nodes()})


def request_cluster_status(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    """As `request_nodes_status`. Raises Unavailable."""
    topics = node.readers.read(lambda reader: reader.topic_count())
    _answer(session, ack_id, "cluster_status_response", node.cluster.status(topics))


def _answer(session: Session, ack_id: AckId, event: str, answer: object) -> None:
    payload = encode(answer)
    session.acknowledge(ack_id, payload)
    session.connection.send(Broadcast(event, [payload]))


def disconnect(node: Node, session: Session) -> None:
    node.monitoring.leave(session.connection.connection_id)


def refresh_admin(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    """Go on with a newer token, which must be an admin's too."""
    refresh(node, session, body, ack_id)
    try:
        session.identity.check_admin()
    except Forbidden as error:
        session.end(error)


EVENTS = {
    "subscribe_to_updates": subscribe_to_updates,
    "request_nodes_status": request_nodes_status,
    "request_cluster_status": request_cluster_status,
    "refresh": refresh_admin,
}
