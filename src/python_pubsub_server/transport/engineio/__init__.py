"""Socket.IO over the project's own WebSocket, behind the interface of Flask-SocketIO."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import flask_socketio
import socketio
from flask import Flask

from ...runtime import Runtime
from .connection import SocketIOConnection
from .packets import BINARY, MALFORMED
from .server import SocketIOServer

__all__ = ["BINARY", "MALFORMED", "SocketIOConnection", "SocketIOServer"]
__all__ += ["build_socketio", "connection_for", "shutdown"]

PING_SECONDS = 25.0
PONG_SECONDS = 20.0


class _SocketIO(flask_socketio.SocketIO):  # type: ignore[misc]
    """Flask-SocketIO on a server that is made here; it would make a stock one."""

    def attach(self, app: Flask, server: SocketIOServer) -> None:
        app.extensions["socketio"] = self
        self.server = server
        self.async_mode = server.async_mode
        inner = socketio.WSGIApp(server, app.wsgi_app)

        def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            environ["flask.app"] = app
            return inner(environ, start_response)

        app.wsgi_app = outer  # type: ignore[method-assign]


def build_socketio(
    app: Flask,
    runtime: Runtime,
    *,
    max_packet_bytes: int,
    outbound_bytes: int,
    cors: Callable[[str, dict[str, Any]], bool],
    on_slow: Callable[[str], None],
    ping_interval: float = PING_SECONDS,
    ping_timeout: float = PONG_SECONDS,
) -> flask_socketio.SocketIO:
    """Serve Socket.IO at `/socket.io` of a Flask app; the server is `.server` of what is returned.

    `on_slow(connection_id)` is called when a connection is about to be closed because it does
    not read. One client's events call their handlers one after the other, with the arguments
    `(sid, *arguments: msgspec.Raw, acknowledgement id or None)`; nothing is acknowledged by
    what they return.
    """
    server = SocketIOServer(
        runtime,
        max_packet_bytes=max_packet_bytes,
        outbound_bytes=outbound_bytes,
        on_slow=on_slow,
        cors_allowed_origins=cors,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
    )
    extension = _SocketIO()
    extension.attach(app, server)
    return extension


def connection_for(
    server: SocketIOServer,
    sid: str,
    namespace: str,
    address: str | None = None,
    *,
    is_whole: bool = False,
) -> SocketIOConnection:
    """The connection of a client in a namespace; KeyError: it is gone.

    `address` is the client's where it is not the one that the socket has (behind a proxy).
    `is_whole`: it gets whole messages, also on channels whose event carries only their content.
    """
    session = server.session_of(sid, namespace)
    if address is None:
        address = server.get_environ(sid, namespace).get("REMOTE_ADDR", "")
    forms = server.forms(namespace, is_whole=is_whole)
    return SocketIOConnection(session, forms, sid, address)


def shutdown(server: SocketIOServer, timeout: float) -> bool:
    """Say goodbye to every client; False: some had not answered in time and were cut off."""
    deadline = time.monotonic() + timeout
    server.eio.heartbeat.stop()
    websockets = []
    for session in server.eio.open_sockets():
        session.close(wait=False, reason=server.reason.SERVER_DISCONNECT)
        if session.websocket is not None:
            websockets.append(session.websocket)
    in_time = True
    for websocket in websockets:
        if not websocket.wait_gone(max(0.0, deadline - time.monotonic())):
            in_time = False
            websocket.abort(1001, "shutdown")
    return in_time
