"""The doors for events, as tables: Socket.IO namespaces, and plain WebSockets for the same."""

from __future__ import annotations

from typing import Any

from socketio.exceptions import ConnectionRefusedError

from ..errors import RequestError
from ..limits import holder_of
from ..node import Client, Node
from ..transport.engineio import connection_for
from ..transport.plain import merged, wrapped_whole
from . import chat, health, main, monitoring
from .namespace import Namespace, open_namespace
from .plain import Door
from .session import Session, dispatch, token_in, wants_envelope

NAMESPACES = {
    "/": Namespace(main.EVENTS, main.disconnect, opened=main.opened),
    "/chat": Namespace(chat.EVENTS, chat.disconnect, chat.connect, chat.opened),
    "/health": Namespace(health.EVENTS, health.disconnect, opened=health.opened, is_counted=False),
    "/monitoring": Namespace(
        monitoring.EVENTS, monitoring.disconnect, monitoring.connect, is_counted=False
    ),
}

WEBSOCKETS = {
    "/ws": Door(NAMESPACES["/"], whole=wrapped_whole),
    "/chat/ws": Door(NAMESPACES["/chat"], merged),
}


def register(sio_server: Any, node: Node) -> None:
    """Serve every namespace of the table on a Socket.IO server."""
    for path, namespace in NAMESPACES.items():
        _register(sio_server, node, path, namespace)
    sio_server.on_prompt(main.PROMPT)


def _register(sio_server: Any, node: Node, path: str, namespace: Namespace) -> None:
    sessions: dict[str, Session] = {}

    def connect(sid: str, environ: dict[str, Any], auth: object = None) -> None:
        try:
            identity = node.gate.admit(environ, token_in(auth))
            if identity.subject is not None:  # its address is asked at the entrance
                node.limits.connect(holder_of(identity))
            connection = connection_for(
                sio_server, sid, path, identity.address, is_whole=wants_envelope(environ)
            )
            session = Session(connection, identity, node.metrics)
            namespace.connect(node, session, environ)
        except RequestError as error:
            node.metrics.refused("socket", error.code)
            raise ConnectionRefusedError(error.message, error.body()) from None
        sessions[sid] = session
        if namespace.is_counted:
            node.connections[sid] = Client(session.connection, node.clock.now(), "socket.io")
        node.sessions.watch(session)

    def opened(sid: str) -> None:
        session = sessions.get(sid)
        if session is not None:
            open_namespace(node, namespace, session)

    def disconnect(sid: str, reason: str) -> None:
        node.connections.pop(sid, None)
        session = sessions.pop(sid, None)
        if session is not None:
            node.sessions.forget(session)
            namespace.disconnect(node, session)

    def receive(event: str, sid: str, *arguments: Any) -> None:
        session = sessions.get(sid)
        if session is not None:
            dispatch(node, session, namespace.events, event, arguments[:-1], arguments[-1])

    sio_server.on("connect", connect, namespace=path)
    sio_server.on_opened(path, opened)
    sio_server.on("disconnect", disconnect, namespace=path)
    sio_server.on("*", receive, namespace=path)
