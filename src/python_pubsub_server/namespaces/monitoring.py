"""The namespace `/monitoring`: for dashboards. What they are told is in `monitoring.py`."""

from __future__ import annotations

from ..node import Node
from ..wire import encode
from .session import Session


def subscribe_to_updates(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    session.acknowledge(ack_id, encode({"status": "ok"}))
    node.monitoring.watch(session.connection)


def disconnect(node: Node, session: Session) -> None:
    node.monitoring.leave(session.connection.connection_id)


EVENTS = {"subscribe_to_updates": subscribe_to_updates}
