"""The HTTP doors, as a table: method, path, function. Flask serves it; the functions don't know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

from .. import logs
from ..errors import Invalid, MethodNotAllowed, NotFound, RequestError, Unavailable
from ..identity import Identity
from ..namespaces.asyncapi import asyncapi_document
from ..node import Node
from ..wire import encode
from . import (
    clients,
    cluster,
    events,
    health,
    metrics,
    monitoring,
    notifications,
    pages,
    publishing,
    resources,
    suggestions,
    topics,
)
from .described import OPERATIONS
from .http import NO_CONTENT, DirectRoute, Request, Respond, Response, Route, refused
from .openapi import document


def openapi(node: Node, request: Request) -> Response:
    """What this table says, for machines."""
    request.query()
    return Response(_openapi(node.version, node.access is not None))


def asyncapi(node: Node, request: Request) -> Response:
    """The same of the events."""
    request.query()
    return Response(asyncapi_document(node.version))


ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/publish", publishing.publish),
    ("POST", "/publish/batch", publishing.publish_batch),
    ("GET", "/clients", monitoring.clients),
    ("GET", "/messages", monitoring.messages),
    ("GET", "/consumptions", monitoring.consumptions),
    ("GET", "/topics", monitoring.topics),
    ("GET", "/topics/<topic:topic>/messages", topics.topic_messages),
    ("GET", "/topics/<topic:topic>/events", events.topic_events),
    ("GET", "/topics/<topic:topic>/messages/<sequence>/deliveries", topics.deliveries),
    ("GET", "/topics/<topic:topic>/explain", topics.explain),
    ("GET", "/monitoring/clients", clients.connected),
    ("GET", "/graph/state", monitoring.graph),
    ("GET", "/api/cluster/nodes", cluster.nodes),
    ("GET", "/api/cluster/alerts", cluster.alerts),
    ("GET", "/api/cluster/history", cluster.history),
    ("POST", "/api/cluster/events", cluster.publish_event),
    ("GET", "/graph/activity", monitoring.activity),
    ("POST", "/api/notifications", notifications.notify),
    ("GET", "/api/notifications", notifications.notifications),
    ("GET", "/api/notifications/count", notifications.unread_count),
    ("POST", "/api/notifications/<topic:notification_id>/read", notifications.mark_read),
    ("POST", "/api/suggestions/<topic:suggestion_id>/votes", suggestions.vote),
    ("GET", "/api/suggestions/<topic:suggestion_id>", suggestions.suggestion),
    ("POST", "/api/resources/<topic:resource_id>/updates", resources.update_resource),
    ("GET", "/health/live", health.live),
    ("GET", "/health/ready", health.ready),
    ("GET", "/health", health.health),
    ("GET", "/api/health", health.report),
    ("GET", "/metrics", metrics.metrics),
    ("GET", "/openapi.json", openapi),
    ("GET", "/asyncapi.json", asyncapi),
    ("GET", "/", pages.home),
    ("GET", "/control-panel.html", pages.control_panel),
    ("GET", "/network-graph.html", pages.network_graph),
    ("GET", "/circular-graph.html", pages.circular_graph),
    ("GET", "/activity-map.html", pages.activity_map),
    ("GET", "/chat.html", pages.chat),
    ("GET", "/cluster.html", pages.cluster),
    ("GET", "/websocket-test", pages.websocket_test),
    ("GET", "/demo.html", pages.demo),
)

# What needs no token: the pages, whose data does, and what a load balancer asks. Socket.IO clients
# bring theirs when they join a namespace.
PUBLIC = frozenset(
    path
    for _, path, route in ROUTES
    if route.__module__ == pages.__name__
    or route in (health.live, health.ready, health.health, openapi, asyncapi)
)
PUBLIC_FOLDERS = ("/static/", "/socket.io/")


def is_public(path: str) -> bool:
    """Whether a path is served to who has no token."""
    return path in PUBLIC or path.startswith(PUBLIC_FOLDERS) or path == "/socket.io"


@lru_cache(2)
def _openapi(version: str, asks_for_tokens: bool) -> bytes:
    is_free = {path: is_public(path) for _, path, _ in ROUTES} if asks_for_tokens else None
    return encode(document(ROUTES, OPERATIONS, version=version, is_public=is_free))


# Routes that are served in front of Flask, too.
IN_FRONT: Mapping[tuple[str, str], Route] = {
    (method, path): route for method, path, route in ROUTES if path.startswith("/publish")
}

# The routes of these that the HTTP server calls without a task, in a form that does not wait.
DIRECT: Mapping[tuple[str, str], DirectRoute] = {("POST", "/publish"): publishing.publish_soon}


class TopicConverter(PathConverter):
    """A topic in a path: any characters, slashes at its ends and in a row included."""

    regex = ".+?"
    part_isolating = False


class App(flask.Flask):
    """Flask, which would answer OPTIONS with 200 and an empty page of HTML."""

    def make_default_options_response(self) -> flask.Response:
        allowed = super().make_default_options_response().headers["Allow"]
        environ = flask.request.environ
        node: Node = self.extensions["pubsub"]
        response = Response(b"", NO_CONTENT, headers=(("Allow", allowed),))
        return _flask_response(for_origin(node, environ, response))


IDENTITY = "pubsub.identity"  # where the gate leaves who a request speaks for


def register(app: flask.Flask, node: Node) -> None:
    """Serve every route of the table, and answer everything else with an error in JSON."""
    app.url_map.merge_slashes = False
    app.url_map.converters["topic"] = TopicConverter
    for method, path, route in ROUTES:
        app.add_url_rule(path, route.__name__, _view(node, route), methods=[method])
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def answer(node: Node, route: Route, environ: dict[str, Any], path: dict[str, str]) -> Response:
    """A route's response; what it refuses becomes an error's."""
    identity: Identity = environ[IDENTITY]
    try:
        response = route(node, Request(environ, identity, path))
    except Exception as error:  # noqa: BLE001 - translated; a defect of ours is logged
        response = refusal(node, environ, error)
    return for_origin(node, environ, response)


def answer_soon(node: Node, route: DirectRoute, environ: dict[str, Any], respond: Respond) -> None:
    """Have a direct route respond; what it refuses becomes an error's response."""
    identity: Identity = environ[IDENTITY]
    if "HTTP_ORIGIN" in environ:
        reply = respond

        def respond(response: Response) -> None:
            reply(for_origin(node, environ, response))

    try:
        route(node, Request(environ, identity, {}), respond)
    except Exception as error:  # noqa: BLE001 - translated; a defect of ours is logged
        respond(refusal(node, environ, error))


def refusal(node: Node, environ: dict[str, Any], error: Exception) -> Response:
    """What a client is told of what a route raised."""
    if isinstance(error, RequestError):
        return refused(node, error)
    logs.event(logging.ERROR, "request_failed", exception=error, path=environ.get("PATH_INFO", ""))
    return refused(node, Unavailable("The server failed on this request; it is logged"))


def for_origin(node: Node, environ: dict[str, Any], response: Response) -> Response:
    """A response with what lets a page of another origin read it, where that page is listed."""
    if "HTTP_ORIGIN" not in environ:
        return response
    headers = node.gate.cors_headers(environ)
    return msgspec.structs.replace(response, headers=(*response.headers, *headers))


def _view(node: Node, route: Route) -> Any:
    def view(**path: str) -> flask.Response:
        return _flask_response(answer(node, route, flask.request.environ, path))

    return view


def _flask_response(response: Response) -> flask.Response:
    made = flask.Response(response.body, response.status)
    del made.headers["Content-Type"]  # Flask's default
    made.headers.extend(response.all_headers())
    return made


def _http_error(error: HTTPException) -> flask.Response:
    """What Flask itself refuses: an unknown route, a method that it does not have."""
    path = flask.request.path[:200]
    if error.code == 404:
        return _told(NotFound(f"There is nothing at {path!r}"))
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        method = flask.request.method
        text = f"{path!r} does not take {method}, but {allowed}"
        return _told(MethodNotAllowed(text, allowed=allowed))
    return _told(Invalid(error.description or error.name))


def _defect(error: Exception) -> flask.Response:
    logs.event(logging.ERROR, "request_failed", exception=error, path=flask.request.path)
    return _told(Unavailable("The server failed on this request; it is logged"))


def _told(error: RequestError) -> flask.Response:
    node: Node = flask.current_app.extensions["pubsub"]
    return _flask_response(for_origin(node, flask.request.environ, refused(node, error)))
