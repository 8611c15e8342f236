"""The front door: what is served, put together, and the main program.

python -m python_pubsub_server.pubsub_ws [options]      the same as `pubsub-server serve`
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import flask
import msgspec

from . import __version__, logs, namespaces, routes
from .auth import is_loopback
from .config import Settings
from .errors import RateLimited, RequestError
from .identity import Identity
from .limits import holder_at, holder_of
from .namespaces import plain
from .node import Node
from .routes.http import NO_CONTENT, DirectRoute, Response, refused
from .routes.publishing import max_batch_bytes
from .runtime import Runtime, open_runtime
from .settings_text import without_password
from .transport.engineio import build_socketio, shutdown
from .transport.http import TAKE_OVER, Direct, HTTPServer, Seats
from .transport.http.server import TOO_MANY
from .transport.plain import PlainWebSockets

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# With every answer; a page says more (`routes/pages.py`).
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
MAX_BODY_BYTES = 2**20  # where no route says otherwise
STRANGERS_BODY_BYTES = 2**16  # of who may not come in
LONG = "10000"  # a Content-Length with so many digits is looked at twice


def create_app(settings: Settings, runtime: Runtime, worker: int = 0) -> flask.Flask:
    """The whole server as a Flask application; its node is `app.extensions["pubsub"]`.

    `worker` is its number among those that share its port. Raises StartError when the database
    cannot be opened.
    """
    node = Node(settings, runtime, worker)
    app = routes.App(__name__, static_folder="web/static")
    app.extensions["pubsub"] = node
    app.secret_key = os.urandom(32)  # nothing is signed with it; never a constant all the same
    app.url_map.strict_slashes = False
    routes.register(app, node)
    socketio = build_socketio(
        app,
        runtime,
        max_packet_bytes=max_packet_bytes(settings),
        outbound_bytes=settings.outbound_bytes,
        cors=node.gate.allows_origin,
        on_slow=node.closed_as_slow,
    )
    namespaces.register(socketio.server, node)
    sockets = PlainWebSockets(
        runtime,
        max_size=max_packet_bytes(settings),
        outbound_bytes=settings.outbound_bytes,
        on_slow=node.closed_as_slow,
    )
    app.extensions["websockets"] = sockets
    doors = plain.doors(node, sockets, namespaces.WEBSOCKETS)
    app.wsgi_app = Entrance(app.wsgi_app, node, doors)  # type: ignore[method-assign]
    node.start()
    return app


class Entrance:
    """Every request's first stop: who it speaks for, before anything else looks at it.

    The routes that carry the load are answered right here, without Flask; their rules and
    errors are the same, because they are the same functions.
    """

    def __init__(self, inner: WSGIApp, node: Node, doors: Mapping[str, plain.Serve]) -> None:
        self._inner = inner
        self._node = node
        self._doors = doors  # of plain WebSockets, by path
        self._gate = node.gate
        self.seats = Seats(node.settings.connections_per_address, self._holder_at)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        try:
            environ[routes.IDENTITY] = self._let_in(environ)
        except RequestError as error:
            return respond(self._refusal(environ, error), start_response)
        if is_preflight(environ):
            headers = self._gate.cors_headers(environ)
            return respond(Response(b"", NO_CONTENT, headers=headers), start_response)
        route = routes.IN_FRONT.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if route is not None:
            return respond(routes.answer(self._node, route, environ, {}), start_response)
        door = self._doors.get(environ["PATH_INFO"])
        if door is not None:
            return self._open(door, environ, start_response)
        return self._inner(environ, start_response)

    def _open(
        self, door: plain.Serve, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        try:
            return door(environ[routes.IDENTITY], environ, start_response)
        except Exception as error:  # noqa: BLE001 - translated; a defect of ours is logged
            return respond(routes.refusal(self._node, environ, error), start_response)

    def direct(self) -> dict[tuple[str, str], Direct]:
        """The routes that the HTTP server calls without a task."""
        return {place: partial(self._direct, route) for place, route in routes.DIRECT.items()}

    def max_body(self, environ: dict[str, Any]) -> int:
        """How long the body of a request may be; much is taken only from who may come in."""
        settings = self._node.settings
        path = environ["PATH_INFO"]
        if path == "/publish":
            limit = settings.max_message_bytes
        elif path == "/publish/batch":
            limit = max_batch_bytes(settings.max_message_bytes)
        elif path.startswith("/socket.io"):
            limit = max_packet_bytes(settings)
        else:
            limit = MAX_BODY_BYTES
        if len(environ.get("CONTENT_LENGTH", LONG)) < len(LONG):
            return limit  # so little is not worth a second look
        try:
            self._identify(environ)
        except RequestError:
            return min(limit, STRANGERS_BODY_BYTES)
        return limit

    def _holder_at(self, address: str) -> str | None:
        """Who is at an address whose connections are counted."""
        if is_loopback(address) or self._gate.is_proxy(address):
            return None
        return holder_at(address)

    def _let_in(self, environ: dict[str, Any]) -> Identity:
        """Raises Unauthenticated, Forbidden, RateLimited."""
        keeps_socket = "HTTP_UPGRADE" in environ or is_stream(environ)
        opens = opens_connection(environ)
        if not (opens or keeps_socket):
            return self._identify(environ)
        limits = self._node.limits
        address = self._gate.address(environ)
        if opens:
            limits.connect(holder_at(address))  # before a token is looked at
        if keeps_socket and address != environ.get("REMOTE_ADDR"):
            self._seat_by_proxy(environ, address)  # the proxy's own connection is not counted
        identity = self._identify(environ)
        if opens and identity.subject is not None:
            limits.connect(holder_of(identity))
        return identity

    def _seat_by_proxy(self, environ: dict[str, Any], address: str) -> None:
        """Count the connection of a client behind a proxy, if it becomes one."""
        if self.seats.is_full(address):
            self._node.metrics.limited("connections")
            raise RateLimited(TOO_MANY, retry_after=1)
        take = environ.get(TAKE_OVER)
        if take is None:
            return  # another HTTP server's

        def take_seat() -> tuple[socket.socket, bytes]:
            sock, ahead = take()
            return self.seats.seat(sock, address), ahead

        environ[TAKE_OVER] = take_seat

    def _identify(self, environ: dict[str, Any]) -> Identity:
        """Raises Unauthenticated, Forbidden."""
        # A preflight never carries a token (Fetch §3.2.2).
        if routes.is_public(environ["PATH_INFO"]) or is_preflight(environ):
            return self._gate.admit_anybody(environ)
        return self._gate.admit(environ)

    def _refusal(self, environ: dict[str, Any], error: RequestError) -> Response:
        return routes.for_origin(self._node, environ, refused(self._node, error))

    def _direct(self, route: DirectRoute, environ: dict[str, Any], respond: Any) -> None:
        def reply(response: Response) -> None:
            respond(response.status, response.all_headers(), response.body)

        try:
            environ[routes.IDENTITY] = self._gate.admit(environ)
        except RequestError as error:
            reply(self._refusal(environ, error))
            return
        routes.answer_soon(self._node, route, environ, reply)


def max_packet_bytes(settings: Settings) -> int:
    """The longest Socket.IO message or polling body."""
    return 2 * settings.max_message_bytes + 65_536


def opens_connection(environ: dict[str, Any]) -> bool:
    """Whether a request is for something that stays: a session, a WebSocket, a stream."""
    if environ["REQUEST_METHOD"] != "GET":
        return False
    path = environ["PATH_INFO"]
    if path.startswith("/socket.io"):
        return "sid" not in parse_qs(environ["QUERY_STRING"])  # as Engine.IO reads it
    return path in namespaces.WEBSOCKETS or is_stream(environ)


def is_stream(environ: dict[str, Any]) -> bool:
    """Whether a request is for a topic's events."""
    path = environ["PATH_INFO"]
    return path.startswith("/topics/") and bool(path.rstrip("/").endswith("/events"))


def is_preflight(environ: dict[str, Any]) -> bool:
    """Whether a browser asks what a page of another origin may do (Engine.IO answers its own)."""
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        and not environ["PATH_INFO"].startswith("/socket.io")
    )


def respond(response: Response, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = [*response.all_headers()]
    if response.status != NO_CONTENT:  # RFC 9110 §8.6
        headers.append(("Content-Length", str(len(response.body))))
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers)
    return [response.body]


def serve(settings: Settings, *, worker: int = 0) -> int:
    """Run the server until SIGTERM or SIGINT; the process's exit code. Raises StartError.

    `worker` is its number, from 1, among those that share its port.
    """
    logs.configure(settings.log_level, settings.log_format)
    allow_many_connections()
    runtime = open_runtime(settings.async_mode)
    listener = runtime.listen(settings.host, settings.port, is_shared=worker > 0)
    settings = msgspec.structs.replace(settings, port=listener.getsockname()[1])
    app = create_app(settings, runtime, worker)
    node: Node = app.extensions["pubsub"]
    entrance: Entrance = app.wsgi_app  # type: ignore[assignment]
    server = HTTPServer(
        runtime,
        listener,
        app,
        direct=entrance.direct(),
        max_body=entrance.max_body,
        headers=SECURITY_HEADERS,
        seats=entrance.seats,
        on_limit=node.metrics.limited,
    )
    stop = runtime.event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runtime.call_from_thread(stop.set))
    host, port = listener.getsockname()[:2]
    logs.event(
        logging.INFO,
        "started",
        text=f"listening on http://{f'[{host}]' if ':' in host else host}:{port}",
        version=__version__,
        node_id=node.node_id,
        epoch=node.epoch,
        database=without_password(settings.database_url),
        bus=without_password(settings.redis_url or "none"),
        authentication="off" if node.access is None else "on",
        durability=settings.durability,
        async_mode=settings.async_mode,
        pid=os.getpid(),
    )
    spare_collections()
    serving = runtime.spawn(server.run)
    stop.wait()
    _stop(app, server)
    serving.wait(1.0)
    runtime.close()
    return 0


def spare_collections() -> None:
    """Let the garbage collector never look again through what is there by now.

    That is the libraries and the server itself, which stay. A full collection looked through them
    for 50 ms and more, and the event loop stood still.
    """
    gc.collect()
    gc.freeze()


def allow_many_connections() -> None:
    """Raise the number of files that this process may open to what the system allows it."""
    some, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError) as error:  # some systems allow less than they say
        logs.event(logging.INFO, "file_limit_kept", limit=some, reason=str(error))


def _stop(app: flask.Flask, server: HTTPServer) -> None:
    """Take nothing new, answer what was asked, say goodbye, and close the log."""
    node: Node = app.extensions["pubsub"]
    node.is_draining = True
    seconds = node.settings.drain_seconds
    server.stop_accepting()
    node.hub.ring()
    sockets: PlainWebSockets = app.extensions["websockets"]
    sockets.say_goodbye()
    node.streams.close("server disconnect")
    shutdown(app.extensions["socketio"].server, seconds)
    sockets.shutdown(seconds)
    server.drain(seconds)
    server.stop()
    node.close()


def main() -> None:
    from .cli import serve as command

    command(prog_name="python -m python_pubsub_server.pubsub_ws")


if __name__ == "__main__":
    main()
