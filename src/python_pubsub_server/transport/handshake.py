"""How a WSGI request becomes a WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from ..runtime import Runtime
from .fanout import Changes
from .http import take_over
from .receiver import Receiver
from .websocket import WebSocket, protocol_log


def open_websocket(
    runtime: Runtime,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    receiver: Receiver,
    *,
    max_size: int,
    outbound_bytes: int,
    changes: Changes | None = None,
) -> Sequence[bytes]:
    """Answer a WSGI request for a WebSocket: a handshake, or an HTTP error if it asks wrongly."""
    response = _shake_hands(environ)
    if response.status_code != 101:
        return _refuse(response, start_response)
    sock, ahead = take_over(environ)
    websocket = WebSocket(
        runtime, sock, receiver, max_size=max_size, outbound_bytes=outbound_bytes, changes=changes
    )
    websocket.send_frames(response.serialize())
    receiver.opened(websocket)
    websocket.start(ahead)
    return ()


def _refuse(response: Response, start_response: Callable[..., Any]) -> Sequence[bytes]:
    """Say why in JSON, with the headers that say what would be right (`Upgrade`)."""
    message = bytes(response.body).decode(errors="replace").strip()
    body = msgspec.json.encode({"status": "error", "code": "invalid", "message": message})
    ours = ("content-type", "content-length")
    headers = [each for each in response.headers.raw_items() if each[0].lower() not in ours]
    headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{response.status_code} {response.reason_phrase}", headers)
    return [body]


def _shake_hands(environ: dict[str, Any]) -> Response:
    headers = Headers()
    for name in ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            headers[name] = value
    request = Request(environ["PATH_INFO"], headers, method=environ["REQUEST_METHOD"])
    return ServerProtocol(logger=protocol_log).accept(request)
