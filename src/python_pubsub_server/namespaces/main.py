"""The namespace `/`: subscribe, unsubscribe, publish, consumed.

Events of one connection come one after the other, in its own greenlet. Publishes and consumptions
do not wait for their commit there: they are acknowledged when it is done, in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from .. import logs, wire
from ..errors import RequestError
from ..model import Published
from ..node import Node
from ..wire import encode
from .session import Session


def subscribe(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    joined = node.subscribing.subscribe(
        session.identity, session.connection, wire.parse_subscribe(body)
    )
    session.acknowledge(ack_id, encode(joined))


def unsubscribe(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    topics = node.subscribing.unsubscribe(session.connection, wire.parse_unsubscribe(body))
    answer = encode({"status": "ok", "topics": topics})
    session.connection.emit("unsubscribed", answer)
    session.acknowledge(ack_id, answer)


def publish(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    def answer(outcome: Sequence[Published] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            session.refuse("publish", ack_id, outcome)
            return
        (published,) = outcome
        session.acknowledge(
            ack_id,
            encode(
                {
                    "status": "ok",
                    "sequence": published.message.sequence,
                    "timestamp": published.message.timestamp,
                    "duplicate": published.duplicate,
                }
            ),
        )

    draft = wire.parse_draft(body, node.settings.max_message_bytes)
    node.broker.publish_soon(session.identity, draft, answer)


def consumed(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    def answer(outcome: int | RequestError) -> None:
        if isinstance(outcome, RequestError):
            session.refuse("consumed", ack_id, outcome)
        else:
            session.acknowledge(ack_id, encode({"status": "ok", "recorded": outcome}))

    node.broker.consume_soon(session.identity, wire.parse_claim(body), answer)


def history(node: Node, session: Session, body: bytes, ack_id: int | None) -> None:
    topic, after, limit = wire.parse_history(body)
    page = node.history.page(session.identity, topic, after, limit)
    session.acknowledge(ack_id, encode({"status": "ok"} | msgspec.structs.asdict(page)))


def disconnect(node: Node, session: Session) -> None:
    topics = node.subscribing.disconnect(session.connection)
    logs.event(
        logging.DEBUG,
        "disconnected",
        connection=session.connection.connection_id,
        topics=topics,
    )


EVENTS = {
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "consumed": consumed,
    "history": history,
}
