"""A client's session on a namespace, and how its events are dispatched and refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from .. import logs
from ..auth import Identity
from ..errors import Invalid, NotFound, RequestError, Unavailable
from ..transport.engineio import SocketIOConnection
from ..wire import encode

Handler = Callable[[Any, "Session", bytes, int | None], None]

EMPTY = b""  # an event that came without its argument


class Session:
    """One connection on one namespace with who it speaks for."""

    __slots__ = ("connection", "identity")

    def __init__(self, connection: SocketIOConnection, identity: Identity) -> None:
        self.connection = connection
        self.identity = identity

    def acknowledge(self, ack_id: int | None, payload: bytes) -> None:
        """Answer an event whose client asked for an answer."""
        if ack_id is not None:
            self.connection.acknowledge(ack_id, payload)

    def refuse(self, event: str, ack_id: int | None, error: RequestError) -> None:
        """Answer with an error: in the acknowledgement, or as the event `error` without one."""
        logs.event(logging.DEBUG, "refused", what=event, code=error.code, reason=error.message)
        if ack_id is not None:
            self.connection.acknowledge(ack_id, encode(error.body()))
        else:
            self.connection.emit("error", encode(error.body() | {"event": event}))


def dispatch(
    node: Any,
    session: Session,
    handlers: Mapping[str, Handler],
    event: str,
    arguments: tuple[Raw, ...],
    ack_id: int | None,
) -> None:
    """Call an event's handler; whatever it raises becomes the client's error."""
    try:
        handler = handlers.get(event)
        if event == "$malformed":
            raise Invalid(str(msgspec.json.decode(arguments[0])))
        if event == "$binary":
            raise Invalid("Binary data is not JSON; send it as text, in base64 for example")
        if handler is None:
            known = ", ".join(handlers)
            raise NotFound(f"Unknown event {event[:100]!r}; this namespace knows: {known}")
        if len(arguments) > 1:
            raise Invalid(f"`{event}` takes one argument, not {len(arguments)}")
        handler(node, session, bytes(arguments[0]) if arguments else EMPTY, ack_id)
    except RequestError as error:
        session.refuse(event, ack_id, error)
    except Exception as error:  # noqa: BLE001 - a defect of ours: logged, and the client is told
        logs.event(logging.ERROR, "event_failed", exception=error, what=event)
        session.refuse(event, ack_id, Unavailable("The server failed on this; it is logged"))
