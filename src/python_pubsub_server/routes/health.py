"""`/health/live`, `/health/ready`, `/health` and `/api/health`."""

from __future__ import annotations

from ..errors import Unavailable
from ..health import UNHEALTHY
from ..node import Node
from .http import Request, Response, json_response


def live(node: Node, request: Request) -> Response:
    """The process turns."""
    return json_response({"status": "alive", "timestamp": node.clock.now()})


def ready(node: Node, request: Request) -> Response:
    """Everything works: the database and the bus answer, and the server is not stopping.

    A node without its bus still serves, and the other nodes hear of it later: it is `degraded`.
    """
    _check(node)
    if node.bus.failure is not None:
        return json_response(
            {
                "status": "degraded",
                "code": "unavailable",
                "message": f"The bus does not work: {node.bus.failure}",
                "timestamp": node.clock.now(),
            },
            status=503,
        )
    return json_response({"status": "ready", "timestamp": node.clock.now()})


def health(node: Node, request: Request) -> Response:
    _check(node)
    return json_response({"status": "healthy", "timestamp": node.clock.now()})


def report(node: Node, request: Request) -> Response:
    """Everything that is checked, with what is wrong."""
    found = node.health()
    return json_response(found, status=503 if found.status == UNHEALTHY else 200)


def _check(node: Node) -> None:
    if node.is_draining:
        raise Unavailable("The server is stopping")
    failure = node.check_database()
    if failure is not None:
        raise Unavailable(f"The database does not work: {failure}")
