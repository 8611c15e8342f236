"""The front door: what is served, put together, and the main program.

python -m python_pubsub_server.pubsub_ws [options]      the same as `pubsub-server serve`
"""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

import flask

from . import __version__, logs, namespaces, routes
from .config import Settings
from .errors import RequestError
from .node import Node
from .routes.http import DirectRoute, Response, error_response
from .routes.publishing import max_batch_bytes
from .runtime import Runtime, open_runtime
from .transport.engineio import build_socketio, shutdown
from .transport.http import Direct, HTTPServer

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MAX_BODY_BYTES = 2**20  # where no route says otherwise


def create_app(settings: Settings, runtime: Runtime) -> flask.Flask:
    """The whole server as a Flask application; its node is `app.extensions["pubsub"]`.

    Raises StartError when the database cannot be opened.
    """
    node = Node(settings, runtime)
    app = flask.Flask(__name__, static_folder="web/static", template_folder="web/templates")
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
        on_slow=lambda connection_id: logs.event(
            logging.WARNING, "closed_as_slow", connection=connection_id
        ),
    )
    namespaces.register(socketio.server, node)
    app.wsgi_app = Entrance(app.wsgi_app, node)  # type: ignore[method-assign]
    return app


class Entrance:
    """Every request's first stop: who it speaks for, before anything else looks at it.

    The routes that carry the load are answered right here, without Flask; their rules and
    errors are the same, because they are the same functions.
    """

    def __init__(self, inner: WSGIApp, node: Node) -> None:
        self._inner = inner
        self._node = node
        self._gate = node.gate

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        try:
            environ[routes.IDENTITY] = self._gate.admit(environ)
        except RequestError as error:
            return respond(error_response(error), start_response)
        if is_preflight(environ):
            headers = self._gate.cors_headers(environ)
            return respond(Response(b"", status=204, headers=headers), start_response)
        route = routes.IN_FRONT.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if route is not None:
            return respond(routes.answer(self._node, route, environ, {}), start_response)
        return self._inner(environ, start_response)

    def direct(self) -> dict[tuple[str, str], Direct]:
        """The routes that the HTTP server calls without a task."""
        return {place: partial(self._direct, route) for place, route in routes.DIRECT.items()}

    def max_body(self, environ: dict[str, Any]) -> int:
        """How long the body of a request may be; much is taken only from who may come in."""
        settings = self._node.settings
        path = environ["PATH_INFO"]
        if path == "/publish":
            return settings.max_message_bytes
        if path == "/publish/batch":
            limit = max_batch_bytes(settings.max_message_bytes)
        elif path.startswith("/socket.io"):
            limit = max_packet_bytes(settings)
        else:
            return MAX_BODY_BYTES
        try:
            self._gate.admit(environ)
        except RequestError:
            return min(limit, MAX_BODY_BYTES)
        return limit

    def _direct(self, route: DirectRoute, environ: dict[str, Any], respond: Any) -> None:
        def reply(response: Response) -> None:
            headers = (("Content-Type", response.content_type), *response.headers)
            respond(response.status, headers, response.body)

        try:
            environ[routes.IDENTITY] = self._gate.admit(environ)
        except RequestError as error:
            reply(error_response(error))
            return
        routes.answer_soon(self._node, route, environ, reply)


def max_packet_bytes(settings: Settings) -> int:
    """The longest Socket.IO message or polling body."""
    return 2 * settings.max_message_bytes + 65_536


def is_preflight(environ: dict[str, Any]) -> bool:
    """Whether a browser asks what a page of another origin may do (Engine.IO answers its own)."""
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        and not environ["PATH_INFO"].startswith("/socket.io")
    )


def respond(response: Response, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        *response.headers,
    ]
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers)
    return [response.body]


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; the process's exit code. Raises StartError."""
    logs.configure(settings.log_level, settings.log_format)
    allow_many_connections()
    runtime = open_runtime(settings.async_mode)
    listener = runtime.listen(settings.host, settings.port)
    app = create_app(settings, runtime)
    node: Node = app.extensions["pubsub"]
    entrance: Entrance = app.wsgi_app  # type: ignore[assignment]
    server = HTTPServer(
        runtime, listener, app, direct=entrance.direct(), max_body=entrance.max_body
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
        database=settings.database_url,
        durability=settings.durability,
        async_mode=settings.async_mode,
        pid=os.getpid(),
    )
    serving = runtime.spawn(server.run)
    stop.wait()
    _stop(app, server)
    serving.wait(1.0)
    runtime.close()
    return 0


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
    shutdown(app.extensions["socketio"].server, seconds)
    server.drain(seconds)
    server.stop()
    node.close()


def main() -> None:
    from .cli import serve as command

    command(prog_name="python -m python_pubsub_server.pubsub_ws")


if __name__ == "__main__":
    main()
