"""The HTTP doors, as a table: method, path, function. Flask serves it; the functions don't know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

from .. import logs
from ..auth import Identity
from ..errors import Invalid, MethodNotAllowed, NotFound, RequestError, Unavailable
from ..node import Node
from . import health, monitoring, pages, publishing, topics
from .http import DirectRoute, Request, Respond, Response, Route, error_response

ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/publish", publishing.publish),
    ("POST", "/publish/batch", publishing.publish_batch),
    ("GET", "/clients", monitoring.clients),
    ("GET", "/messages", monitoring.messages),
    ("GET", "/consumptions", monitoring.consumptions),
    ("GET", "/topics", monitoring.topics),
    ("GET", "/topics/<topic:topic>/messages", topics.topic_messages),
    ("GET", "/topics/<topic:topic>/messages/<sequence>/deliveries", topics.deliveries),
    ("GET", "/topics/<topic:topic>/explain", topics.explain),
    ("GET", "/graph/state", monitoring.graph),
    ("GET", "/graph/activity", monitoring.activity),
    ("GET", "/health/live", health.live),
    ("GET", "/health/ready", health.ready),
    ("GET", "/health", health.health),
    ("GET", "/api/health", health.report),
    ("GET", "/", pages.home),
    ("GET", "/control-panel.html", pages.control_panel),
    ("GET", "/network-graph.html", pages.network_graph),
    ("GET", "/circular-graph.html", pages.circular_graph),
    ("GET", "/activity-map.html", pages.activity_map),
)

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
        response = refusal(environ, error)
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
        respond(refusal(environ, error))


def refusal(environ: dict[str, Any], error: Exception) -> Response:
    """What a client is told of what a route raised."""
    if isinstance(error, RequestError):
        return error_response(error)
    logs.event(logging.ERROR, "request_failed", exception=error, path=environ.get("PATH_INFO", ""))
    return error_response(Unavailable("The server failed on this request; it is logged"))


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
    return flask.Response(
        response.body,
        response.status,
        headers=dict(response.headers),
        content_type=response.content_type,
    )


def _http_error(error: HTTPException) -> flask.Response:
    """What Flask itself refuses: an unknown route, a method that it does not have."""
    path = flask.request.path[:200]
    if error.code == 404:
        return _told(error_response(NotFound(f"There is nothing at {path!r}")))
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        refusal = MethodNotAllowed(f"{path!r} does not take {flask.request.method}, but {allowed}")
        response = _told(error_response(refusal))
        response.headers["Allow"] = allowed
        return response
    return _told(error_response(Invalid(error.description or error.name)))


def _defect(error: Exception) -> flask.Response:
    logs.event(logging.ERROR, "request_failed", exception=error, path=flask.request.path)
    return _told(error_response(Unavailable("The server failed on this request; it is logged")))


def _told(response: Response) -> flask.Response:
    node: Node = flask.current_app.extensions["pubsub"]
    return _flask_response(for_origin(node, flask.request.environ, response))
