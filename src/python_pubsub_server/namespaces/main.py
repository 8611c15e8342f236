"""The namespace `/`: subscribe, unsubscribe, publish, consumed.

Events of one connection come one after the other, in its own greenlet. Publishes and consumptions
do not wait for their commit there: they are acknowledged when it is done, publishes in their order
and consumptions in theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from .. import logs, resources, votes, wire
from ..bulletin import parse_said
from ..errors import RequestError
from ..model import Published
from ..node import Node
from ..wire import encode
from .session import AckId, Session, refresh


def subscribe(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    _join(node, session, wire.parse_subscribe(body), ack_id)


def subscribe_to_votes(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    _join(node, session, votes.parse_wanted(body), ack_id)


def subscribe_to_resource(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    _join(node, session, resources.parse_wanted(body), ack_id)


def _join(node: Node, session: Session, wanted: wire.Subscribe, ack_id: AckId) -> None:
    joined = node.subscribing.subscribe(session.identity, session.connection, wanted)
    session.acknowledge(ack_id, encode(joined))


def unsubscribe(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    topics = node.subscribing.unsubscribe(session.connection, wire.parse_unsubscribe(body))
    answer = encode({"status": "ok", "topics": topics})
    session.emit("unsubscribed", answer)
    session.acknowledge(ack_id, answer)


def publish(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
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


def consumed(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    def answer(outcome: int | RequestError) -> None:
        if isinstance(outcome, RequestError):
            session.refuse("consumed", ack_id, outcome)
        else:
            session.acknowledge(ack_id, _recorded(outcome))

    node.broker.consume_soon(session.identity, wire.parse_claim(body), answer)


@lru_cache(maxsize=16)
def _recorded(number: int) -> bytes:
    """The answer to a confirmation of that many messages: nearly always of one or none."""
    return encode({"status": "ok", "recorded": number})


def history(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    topic, after, limit = wire.parse_history(body)
    page = node.history.page(session.identity, topic, after, limit)
    session.acknowledge(ack_id, encode({"status": "ok"} | msgspec.structs.asdict(page)))


def presence(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    users = node.presence.of(session.identity, wire.parse_presence(body))
    session.acknowledge(ack_id, encode({"status": "ok", "users": users}))


def publish_event(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    node.bulletin.publish(session.identity, parse_said(body))
    session.acknowledge(ack_id, encode({"status": "ok"}))


def opened(node: Node, session: Session) -> None:
    node.bulletin.join(session)
    node.notifications.welcome(session.identity, session.connection)


def disconnect(node: Node, session: Session) -> None:
    node.bulletin.leave(session)
    topics = node.subscribing.disconnect(session.connection)
    logs.event(
        logging.DEBUG,
        "disconnected",
        connection=session.connection.connection_id,
        topics=topics,
    )


EVENTS = {
    "subscribe": subscribe,
    "subscribe:suggestions": subscribe_to_votes,
    "subscribe:resource": subscribe_to_resource,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "consumed": consumed,
    "history": history,
    "presence": presence,
    "publish_event": publish_event,
    "refresh": refresh,
}
# Handled as soon as they are read, because their handlers never wait.
PROMPT = ("publish", "consumed")
