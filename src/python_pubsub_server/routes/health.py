"""`/health/live`, `/health/ready`, `/health` and `/api/health`."""

from __future__ import annotations

from ..errors import Unavailable
from ..node import Node
from .http import Request, Response, json_response


def live(node: Node, request: Request) -> Response:
    """The process turns."""
    return json_response({"status": "alive", "timestamp": node.clock.now()})


def ready(node: Node, request: Request) -> Response:
    """Requests can be served: the database answers and the server is not stopping."""
    _check(node)
    return json_response({"status": "ready", "timestamp": node.clock.now()})


def health(node: Node, request: Request) -> Response:
    _check(node)
    return json_response({"status": "healthy", "timestamp": node.clock.now()})


def report(node: Node, request: Request) -> Response:
    """Everything that is checked, with what is wrong."""
    failure = node.check_database()
    is_healthy = failure is None and not node.is_draining
    return json_response(
        {
            "status": "healthy" if is_healthy else "unhealthy",
            "timestamp": node.clock.now(),
            "version": node.version,
            "node_id": node.node_id,
            "uptime_seconds": node.clock.now() - node.started_at,
            "websocket_clients": len(node.connections),
            "checks": {
                "database": {"status": "ok"}
                if failure is None
                else {"status": "error", "message": failure},
                "bus": {"status": "ok"},
            },
        },
        status=200 if is_healthy else 503,
    )


def _check(node: Node) -> None:
    if node.is_draining:
        raise Unavailable("The server is stopping")
    failure = node.check_database()
    if failure is not None:
        raise Unavailable(f"The database does not work: {failure}")
