"""The namespace `/health`: how a node is, for who asks. What is checked is in `Node.health`."""

from __future__ import annotations

from ..node import Node
from ..wire import encode
from .session import AckId, Session, refresh


def opened(node: Node, session: Session) -> None:
    session.emit(
        "health_connected",
        encode({"status": "connected", "node_id": node.node_id, "timestamp": node.clock.now()}),
    )


def request_health(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    """Answered by the event, and by the acknowledgement if there is one."""
    payload = encode(node.health())
    session.acknowledge(ack_id, payload)
    session.emit("health_response", payload)


def disconnect(node: Node, session: Session) -> None:
    """Nothing is kept of these clients."""


EVENTS = {"request_health": request_health, "refresh": refresh}
