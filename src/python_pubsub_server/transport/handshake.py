"""How a WSGI request becomes a WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from ..runtime import Runtime
from .http import take_over
from .websocket import Receiver, WebSocket, protocol_log


def open_websocket(
    runtime: Runtime,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    receiver: Receiver,
    *,
    max_size: int,
    outbound_bytes: int,
) -> Sequence[bytes]:
    """Answer a WSGI request for a WebSocket: a handshake, or an HTTP error if it asks wrongly."""
    response = _shake_hands(environ)
    if response.status_code != 101:
        headers = [(name, value) for name, value in response.headers.raw_items()]
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        return [bytes(response.body)]
    sock, ahead = take_over(environ)
    websocket = WebSocket(runtime, sock, receiver, max_size=max_size, outbound_bytes=outbound_bytes)
    websocket.send_frames(response.serialize())
    receiver.opened(websocket)
    websocket.start(ahead)
    return ()


def _shake_hands(environ: dict[str, Any]) -> Response:
    headers = Headers()
    for name in ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            headers[name] = value
    request = Request(environ["PATH_INFO"], headers, method=environ["REQUEST_METHOD"])
    return ServerProtocol(logger=protocol_log).accept(request)
