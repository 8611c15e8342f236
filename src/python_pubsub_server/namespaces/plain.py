"""A namespace served over plain WebSockets: JSON frames in place of Socket.IO's packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from ..errors import Forbidden, Invalid, MethodNotAllowed, RequestError
from ..identity import Identity
from ..node import Client, Node
from ..transport.fanout import Form
from ..transport.plain import PlainConnection, PlainWebSockets, wrapped
from ..wire import check_json
from .namespace import Namespace, open_namespace
from .session import (
    BINARY,
    MALFORMED,
    Session,
    attempt,
    handler_of,
    refuse_binary,
    wants_envelope,
)

MAX_ID_BYTES = 200
PONG = b'{"type":"pong"}'
OK = b'{"status":"ok"}'


class Door(msgspec.Struct, frozen=True):
    """A namespace, and how its frames are made; `whole` for clients that want whole messages."""

    namespace: Namespace
    form: Form = wrapped
    whole: Form | None = None


Serve = Callable[[Identity, dict[str, Any], Callable[..., Any]], Sequence[bytes]]


def doors(node: Node, sockets: PlainWebSockets, table: Mapping[str, Door]) -> dict[str, Serve]:
    """What answers the requests for each path of a table. It raises RequestError."""
    return {path: partial(_serve, node, sockets, path, door) for path, door in table.items()}


def _serve(
    node: Node,
    sockets: PlainWebSockets,
    path: str,
    door: Door,
    identity: Identity,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
) -> Sequence[bytes]:
    if environ["REQUEST_METHOD"] != "GET":
        raise MethodNotAllowed(f"{path!r} is a WebSocket; connect to it with GET", allowed="GET")
    if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
        raise Invalid(f"{path!r} is a WebSocket: connect to ws://{environ.get('HTTP_HOST')}{path}")
    origin = str(environ.get("HTTP_ORIGIN", ""))
    if not node.gate.allows_origin(origin, environ):
        raise Forbidden(
            f"Pages of {origin[:200]!r} may not connect; list that origin in PUBSUB_CORS_ORIGINS"
        )
    form = door.whole if door.whole is not None and wants_envelope(environ) else door.form
    connection = sockets.connection(form, identity.address)
    session = Session(connection, identity, node.metrics)
    door.namespace.connect(node, session, environ)
    client = _Caller(node, path, door.namespace, session, connection)
    return connection.open(client, environ, start_response)


class _Caller:
    """What one client of a door says, and what becomes of it."""

    __slots__ = ("_connection", "_namespace", "_node", "_path", "_session")

    def __init__(
        self,
        node: Node,
        path: str,
        namespace: Namespace,
        session: Session,
        connection: PlainConnection,
    ) -> None:
        self._node = node
        self._path = path
        self._namespace = namespace
        self._session = session
        self._connection = connection

    def opened(self) -> None:
        if self._namespace.is_counted:
            client = Client(self._connection, self._node.clock.now(), self._path)
            self._node.connections[self._connection.connection_id] = client
        self._node.sessions.watch(self._session)
        open_namespace(self._node, self._namespace, self._session)

    def received(self, message: str | bytes) -> None:
        session = self._session
        if isinstance(message, bytes):
            attempt(session, BINARY, None, refuse_binary)
            return
        body = message.encode()
        try:
            frame = read_frame(body)
        except RequestError as error:
            session.refuse(MALFORMED, None, error)
            return
        event = frame.event
        if event is None:
            session.refuse(MALFORMED, frame.ack_id, Invalid(NO_TYPE))
        elif event == "ping":
            self._connection.send_text(PONG)
            session.acknowledge(frame.ack_id, OK)
        else:
            attempt(session, event, frame.ack_id, partial(self._call, event, body, frame.ack_id))

    def closed(self) -> None:
        self._node.connections.pop(self._connection.connection_id, None)
        self._node.sessions.forget(self._session)
        self._namespace.disconnect(self._node, self._session)

    def _call(self, event: str, body: bytes, ack_id: bytes | None) -> None:
        handler_of(self._namespace.events, event)(self._node, self._session, body, ack_id)


NO_TYPE = 'A frame says what it is: {"type": "subscribe", …}'


class Frame(msgspec.Struct, frozen=True):
    """What a frame wants, None when it does not say; `ack_id` is JSON."""

    event: str | None
    ack_id: bytes | None


class _Head(msgspec.Struct, gc=False):
    type: Raw = Raw(b"null")
    id: Raw = Raw(b"null")


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_type = msgspec.json.Decoder(str | None).decode
_decode_id = msgspec.json.Decoder(str | int | None).decode


def read_frame(body: bytes) -> Frame:
    """The type and the id of a frame, whose other fields are its event's argument."""
    try:
        head = _decode_head(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        check_json(body)
        raise Invalid(f"A frame is a JSON object. {NO_TYPE}") from None
    ack_id = _read_id(head.id)
    try:
        return Frame(_decode_type(head.type), ack_id)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Frame(None, ack_id)


def _read_id(raw: Raw) -> bytes | None:
    try:
        value = _decode_id(raw)
        encoded = msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
        encoded, value = b"", False
    if value is None:
        return None
    if not 0 < len(encoded) <= MAX_ID_BYTES:
        raise Invalid("`id` must be a whole number or a string, 200 bytes of JSON at most")
    return encoded
