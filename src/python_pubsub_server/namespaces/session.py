"""A client's session on a namespace, and how its events are dispatched and refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw

from .. import logs, wire
from ..errors import Invalid, NotFound, RequestError, Unauthenticated, Unavailable
from ..identity import Identity
from ..metrics import Metrics
from ..transport.connection import Connection
from ..wire import encode

Handler = Callable[[Any, "Session", bytes, Any], None]

# Which event a client wants answered: a number over Socket.IO, JSON over a plain WebSocket.
AckId = int | bytes | None

EMPTY = b""  # an event that came without its argument
BINARY = "$binary"
MALFORMED = "$malformed"


class Channel(Connection, Protocol):
    """A connection that can be answered, not only sent to."""

    def emit(self, event: str, payload: bytes) -> None:
        """Send one event, with one argument that is JSON already."""

    def acknowledge(self, ack_id: Any, payload: bytes) -> None:
        """Answer the event that came with this id."""

    def dismiss(self, reason: str) -> None:
        """End it, in a way that tells the client not to come back by itself."""


class Session:
    """One connection on one namespace with who it speaks for.

    `state` is the namespace's own: what it remembers of the client. `describe` makes the argument
    of the event `error`, of the refusal and the name of the event that was refused, if it was one.
    """

    __slots__ = ("_metrics", "connection", "describe", "identity", "state")

    def __init__(self, connection: Channel, identity: Identity, metrics: Metrics) -> None:
        self._metrics = metrics
        self.connection = connection
        self.identity = identity
        self.state: Any = None
        self.describe: Callable[[RequestError, str | None], object] = _describe

    def emit(self, event: str, payload: bytes) -> None:
        self.connection.emit(event, payload)

    def acknowledge(self, ack_id: AckId, payload: bytes) -> None:
        """Answer an event whose client asked for an answer."""
        if ack_id is not None:
            self.connection.acknowledge(ack_id, payload)

    def refuse(self, event: str, ack_id: AckId, error: RequestError) -> None:
        """Answer with an error: in the acknowledgement, or as the event `error` without one."""
        self._metrics.refused("socket", error.code)
        logs.event(logging.DEBUG, "refused", what=event, code=error.code, reason=error.message)
        if ack_id is not None:
            self.connection.acknowledge(ack_id, encode(error.body()))
        else:
            self.connection.emit("error", encode(self.describe(error, event)))

    def end(self, error: RequestError) -> None:
        """Tell a client why it may not stay, and disconnect it."""
        self.connection.emit("error", encode(self.describe(error, None)))
        self.connection.dismiss(error.code)


def _describe(error: RequestError, event: str | None) -> object:
    return error.body() | {"event": event}


def refresh(node: Any, session: Session, body: bytes, ack_id: AckId) -> None:
    """Go on with a newer token; what it does not allow any more is left."""
    identity = node.sessions.refresh(session, wire.parse_refresh(body))
    lost = node.subscribing.narrow(identity, session.connection)
    if lost:
        session.connection.emit("unsubscribed", encode({"status": "ok", "topics": lost}))
    session.acknowledge(ack_id, encode({"status": "ok", "expires_at": identity.ends_at}))


def token_in(auth: object) -> str | None:
    """The token of a Socket.IO handshake, `auth: {token}`. Raises Unauthenticated."""
    token = auth.get("token") if isinstance(auth, dict) else None
    if token is not None and not isinstance(token, str):
        raise Unauthenticated("`auth.token` must be a string")
    return token


def wants_envelope(environ: Mapping[str, Any]) -> bool:
    """Whether a connection's query asks for whole messages on channels with an own event."""
    query = parse_qs(str(environ.get("QUERY_STRING", "")))
    return query.get("envelope", [""])[0] in ("true", "1")


def dispatch(
    node: Any,
    session: Session,
    handlers: Mapping[str, Handler],
    event: str,
    arguments: tuple[Raw, ...],
    ack_id: AckId,
) -> None:
    """Call the handler of a Socket.IO event; whatever it raises becomes the client's error."""

    def act() -> None:
        if event == MALFORMED:
            raise Invalid(str(msgspec.json.decode(arguments[0])))
        if event == BINARY:
            refuse_binary()
        handler = handler_of(handlers, event)
        if len(arguments) > 1:
            raise Invalid(f"`{event}` takes one argument, not {len(arguments)}")
        handler(node, session, bytes(arguments[0]) if arguments else EMPTY, ack_id)

    attempt(session, event, ack_id, act)


def attempt(session: Session, event: str, ack_id: AckId, act: Callable[[], None]) -> None:
    """Do what an event asks for; whatever that raises becomes the client's error."""
    try:
        act()
    except RequestError as error:
        session.refuse(event, ack_id, error)
    except Exception as error:  # noqa: BLE001 - a defect of ours: logged, and the client is told
        logs.event(logging.ERROR, "event_failed", exception=error, what=event)
        session.refuse(event, ack_id, Unavailable("The server failed on this; it is logged"))


def handler_of(handlers: Mapping[str, Handler], event: str) -> Handler:
    """Raises NotFound."""
    handler = handlers.get(event)
    if handler is None:
        known = ", ".join(handlers)
        raise NotFound(f"Unknown event {event[:100]!r}; this namespace knows: {known}")
    return handler


def refuse_binary() -> None:
    raise Invalid("Binary data is not JSON; send it as text, in base64 for example")
