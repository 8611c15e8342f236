"""The Socket.IO doors, as a table: a namespace, its events, and what its disconnect does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from socketio.exceptions import ConnectionRefusedError

from ..errors import RequestError
from ..node import Node
from ..transport.engineio import connection_for
from . import main, monitoring
from .session import Handler, Session, dispatch


class Namespace(msgspec.Struct, frozen=True):
    """`is_counted`: its clients are among the node's connections (dashboards are not)."""

    events: Mapping[str, Handler]
    disconnect: Callable[[Node, Session], None]
    is_counted: bool = True


NAMESPACES = {
    "/": Namespace(main.EVENTS, main.disconnect),
    "/monitoring": Namespace(monitoring.EVENTS, monitoring.disconnect, is_counted=False),
}


def register(sio_server: Any, node: Node) -> None:
    """Serve every namespace of the table on a Socket.IO server."""
    for path, namespace in NAMESPACES.items():
        _register(sio_server, node, path, namespace)


def _register(sio_server: Any, node: Node, path: str, namespace: Namespace) -> None:
    sessions: dict[str, Session] = {}

    def connect(sid: str, environ: dict[str, Any], auth: object = None) -> None:
        try:
            identity = node.gate.admit(environ)
        except RequestError as error:
            raise ConnectionRefusedError(error.message, error.body()) from None
        session = Session(connection_for(sio_server, sid, path), identity)
        sessions[sid] = session
        if namespace.is_counted:
            node.connections[sid] = session.connection

    def disconnect(sid: str, reason: str) -> None:
        node.connections.pop(sid, None)
        session = sessions.pop(sid, None)
        if session is not None:
            namespace.disconnect(node, session)

    def receive(event: str, sid: str, *arguments: Any) -> None:
        session = sessions.get(sid)
        if session is not None:
            dispatch(node, session, namespace.events, event, arguments[:-1], arguments[-1])

    sio_server.on("connect", connect, namespace=path)
    sio_server.on("disconnect", disconnect, namespace=path)
    sio_server.on("*", receive, namespace=path)
