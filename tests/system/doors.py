"""Every door of a server, so that a test can try each with the same token.

They are read from the tables of the server: a new route, namespace or WebSocket is tried by itself.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from python_pubsub_server.namespaces import NAMESPACES, WEBSOCKETS
from python_pubsub_server.routes import PUBLIC, ROUTES
from server import RunningServer
from system.plain import PlainClient

TIMEOUT = 20.0
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
BODIES: dict[str, Any] = {
    "/publish": {"topic": "open", "message_id": "1", "message": 1, "producer": "ann"},
    "/api/cluster/events": {"channel": "cluster:metrics", "data": 1},
    "/publish/batch": [{"topic": "open", "message_id": "1", "message": 1, "producer": "ann"}],
}


class Answer(NamedTuple):
    """How a door answered: `code` is the error's, `ok` where it let somebody in."""

    code: str
    message: str = ""


class Door(NamedTuple):
    name: str
    try_token: Callable[[RunningServer, str], Answer]


def ask(
    server: RunningServer, method: str, path: str, headers: dict[str, str], body: Any = None
) -> Answer:
    """One request; anything but a refusal of who asks lets in."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    try:
        content = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, content, {**kind, **headers})
        response = connection.getresponse()
        if response.status not in (401, 403):
            assert response.status < 500, response.read()
            return Answer("ok")
        error = json.loads(response.read())
        assert error["status"] == "error"
        assert response.status == {"unauthenticated": 401, "forbidden": 403}[error["code"]]
        assert (response.status == 401) is (response.getheader("WWW-Authenticate") == "Bearer")
        return Answer(error["code"], error["message"])
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def route(method: str, path: str) -> Door:
    real = re.sub(r"<topic:\w+>", "open", path)
    real = re.sub(r"<\w*:?\w+>", "1", real)
    query = "?consumer=ann&sequence=1" if real.endswith("/explain") else ""

    def try_token(server: RunningServer, token: str) -> Answer:
        body = BODIES.get(path, {}) if method == "POST" else None
        return ask(server, method, real + query, bearer(token), body)

    return Door(f"{method} {path}", try_token)


def websocket(path: str) -> Door:
    return Door(path, lambda server, token: ask(server, "GET", path, UPGRADE | bearer(token)))


def in_query(name: str, path: str, headers: dict[str, str]) -> Door:
    return Door(
        f"{name}?access_token=",
        lambda server, token: ask(server, "GET", f"{path}?access_token={token}", headers),
    )


def join(server: RunningServer, namespace: str, auth: Any) -> Answer:
    """Join a Socket.IO namespace, as the protocol's packets go."""
    with PlainClient(server.url, "/socket.io/?EIO=4&transport=websocket") as client:
        assert str(client.socket.recv(TIMEOUT)).startswith("0{")
        where = "" if namespace == "/" else f"{namespace},"
        client.send_text(f"40{where}{'' if auth is None else json.dumps(auth)}")
        packet = str(client.socket.recv(TIMEOUT))
    if packet.startswith(f"40{where}"):
        return Answer("ok")
    assert packet.startswith(f"44{where}"), packet
    refusal = json.loads(packet.removeprefix(f"44{where}"))
    assert refusal["data"]["message"] == refusal["message"]
    return Answer(refusal["data"]["code"], refusal["message"])


def socketio(namespace: str) -> Door:
    def try_token(server: RunningServer, token: str) -> Answer:
        return join(server, namespace, {"token": token} if token else None)

    return Door(f"Socket.IO {namespace}", try_token)


GUARDED: tuple[Door, ...] = (
    *(route(method, path) for method, path, _ in ROUTES if path not in PUBLIC),
    *(websocket(path) for path in WEBSOCKETS),
    *(in_query(path, path, UPGRADE) for path in WEBSOCKETS),
    in_query("GET /topics/<topic>/events", "/topics/open/events", {}),
    *(socketio(namespace) for namespace in NAMESPACES),
    route("GET", "/nothing/here"),
)

# What a user may do who is no admin. Every other door must be closed to one.
FOR_USERS = re.compile(
    r"(POST|GET|PUT|DELETE) /(publish|api|openapi\.json|asyncapi\.json|nothing)\b.*"
    r"|GET /topics/<topic:topic>/(messages|events|explain)"
    r"|GET /topics/<topic>/events\?access_token="
    r"|/(ws|chat/ws)(\?access_token=)?"
    r"|Socket\.IO /(chat|health)?"
)
ADMINS_ONLY = re.compile(r"(GET|POST) /api/cluster/\w+")
# Open to users who may publish what comes of it.
FOR_PUBLISHERS = ("POST /api/resources/<topic:resource_id>/updates",)


def is_for_users(door: Door) -> bool:
    if ADMINS_ONLY.fullmatch(door.name) or door.name in FOR_PUBLISHERS:
        return False
    return FOR_USERS.fullmatch(door.name) is not None
