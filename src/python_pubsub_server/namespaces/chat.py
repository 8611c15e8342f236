"""The namespace `/chat`, over Socket.IO and as `/chat/ws`. What it does is in `rooms`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from urllib.parse import parse_qs

from ..errors import RequestError
from ..model import Published
from ..node import Node
from ..rooms import Member, frames, requests
from ..rooms.names import user_of
from ..wire import encode, parse_refresh
from .session import AckId, Handler, Session

OK = encode({"status": "ok"})

Act = Callable[[Node, Member, bytes], None]


def connect(node: Node, session: Session, environ: dict[str, Any]) -> None:
    """`?user=` and `?key=` say who it is, where no token does."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    name, key = (query.get(field, [""])[0] for field in ("user", "key"))
    session.state = user_of(session.identity.subject, name, key)
    session.describe = _describe


def opened(node: Node, session: Session) -> None:
    user = session.state
    member = session.state = node.rooms.connect(session.connection, session.identity, user)
    greeting = {"clientId": member.connection_id, "user": user, "epoch": node.epoch}
    member.tell(frames.event("connected", greeting))


def disconnect(node: Node, session: Session) -> None:
    node.rooms.disconnect(session.state)


def _heard(node: Node, session: Session) -> Member:
    """The member whom an event comes from; any event is a sign of life."""
    member: Member = session.state
    member.identity = session.identity  # its rights may have changed
    node.rooms.hear(member)
    return member


def _answered(act: Act) -> Handler:
    """An event that is done when its function returns."""

    @wraps(act)
    def handler(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
        act(node, _heard(node, session), body)
        session.acknowledge(ack_id, OK)

    return handler


def join(node: Node, member: Member, body: bytes) -> None:
    wanted = requests.parse_join(body)
    node.rooms.join(member, wanted.room, wanted.last_seq, wanted.epoch)


def leave(node: Node, member: Member, body: bytes) -> None:
    node.rooms.leave(member, requests.parse_here(body))


def message(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    def answer(outcome: Sequence[Published] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            session.refuse("message", ack_id, outcome)
            return
        (published,) = outcome
        said = published.message
        session.acknowledge(
            ack_id,
            encode(
                {
                    "status": "ok",
                    "message_id": said.message_id,
                    "sequence": said.sequence,
                    "timestamp": said.timestamp,
                    "duplicate": published.duplicate,
                }
            ),
        )

    member = _heard(node, session)
    talk = requests.parse_talk(body)
    node.rooms.say(member, talk.room, talk.content, talk.id, answer)


def presence(node: Node, member: Member, body: bytes) -> None:
    room = requests.parse_here(body)
    member.tell(frames.presence(room, node.rooms.presence(member.identity, room)))


def history(node: Node, member: Member, body: bytes) -> None:
    wanted = requests.parse_history(body)
    found = node.rooms.history(
        member.identity, wanted.room, wanted.since, wanted.before, wanted.limit
    )
    member.tell(frames.history(wanted.room, found))


def status(node: Node, member: Member, body: bytes) -> None:
    node.rooms.set_away(member, is_away=requests.parse_away(body))


def typing(node: Node, member: Member, body: bytes) -> None:
    node.rooms.type(member, requests.parse_here(body))


def rooms(node: Node, member: Member, body: bytes) -> None:
    member.tell(frames.event("rooms", {"rooms": node.rooms.list(member.identity)}))


def heartbeat(node: Node, member: Member, body: bytes) -> None:
    """The sign of life itself."""


def refresh(node: Node, session: Session, body: bytes, ack_id: AckId) -> None:
    """Go on with a newer token; rooms that it does not allow any more are left."""
    identity = node.sessions.refresh(session, parse_refresh(body))
    left = node.rooms.narrow(_heard(node, session))
    session.acknowledge(
        ack_id, encode({"status": "ok", "expires_at": identity.ends_at, "left": left})
    )


def _describe(error: RequestError, event: str | None) -> object:
    return {"data": {"message": error.message, "code": error.code, "event": event}}


EVENTS: dict[str, Handler] = {
    "join": _answered(join),
    "leave": _answered(leave),
    "message": message,
    "presence": _answered(presence),
    "history": _answered(history),
    "status": _answered(status),
    "typing": _answered(typing),
    "rooms": _answered(rooms),
    "heartbeat": _answered(heartbeat),
    "refresh": refresh,
}
