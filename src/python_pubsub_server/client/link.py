"""One Socket.IO connection over one WebSocket: packets in, packets out, and when it is dead.

Not python-socketio's client: that one gives each received packet a thread of its own, so the order
of a topic would be lost, and its send queue has no bound.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from .values import ClientError

try:
    import websocket
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise ClientError(
        "missing",
        "PubSubClient needs the package websocket-client: "
        "pip install 'python-pubsub-server[client]'",
    ) from error

# With whole messages, also on topics whose event would carry only the content.
QUERY = "EIO=4&transport=websocket&envelope=true"
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
REFUSALS = {401: "unauthenticated", 403: "forbidden"}


class LinkLost(Exception):
    """The connection is gone or could not be made; another one may work."""


class Event(msgspec.Struct, frozen=True):
    name: str
    argument: Any
    size: int


class Answer(msgspec.Struct, frozen=True):
    call_id: int
    content: Mapping[str, Any]


def socket_url(url: str) -> str:
    """Where a server's Socket.IO is, given the server's address. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(f"The address of a server looks like http://127.0.0.1:5000, not {url!r}")
    path = parts.path.rstrip("/") + "/socket.io/"
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, QUERY, ""))


def shown(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Link:
    """A connection to the namespace `/`. One thread reads; any may emit or abort."""

    def __init__(self, url: str, auth: Mapping[str, Any] | None, timeout: float) -> None:
        """Connect. Raises LinkLost, or ClientError when the server does not want this client."""
        self._socket = self._connect(url, timeout)
        self._max_bytes = 0
        try:
            self._shake_hands(auth)
        except BaseException:
            self.close()
            raise

    def read(self) -> Event | Answer:
        """The next thing the server says. Raises LinkLost, also when it says nothing for long."""
        while True:
            packet = self._receive()
            kind = packet[:2]
            if kind == "42":
                name, *arguments = self._decode(packet[2:])
                return Event(str(name), arguments[0] if arguments else None, len(packet))
            if kind == "43":
                digits, bracket, rest = packet[2:].partition("[")
                arguments = self._decode(bracket + rest)
                if digits.isdecimal() and arguments and isinstance(arguments[0], dict):
                    return Answer(int(digits), arguments[0])
            elif kind == "41":
                raise LinkLost("The server ended the session")

    def emit(self, event: str, body: str, call_id: int) -> None:
        """Send an event that asks for an answer. Raises LinkLost, or ClientError `too_large`."""
        packet = f'42{call_id}["{event}",{body}]'.encode()
        if self._max_bytes and len(packet) > self._max_bytes:
            raise ClientError(
                "too_large",
                f"The message makes {len(packet)} bytes; this server takes {self._max_bytes}",
            )
        self._send(packet)

    def abort(self) -> None:
        """End it at once, from any thread: whoever reads or sends gets LinkLost."""
        transport = self._socket.sock
        if transport is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                transport.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. Only for the thread that reads."""
        self.abort()
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    @staticmethod
    def _connect(url: str, timeout: float) -> websocket.WebSocket:
        try:
            return websocket.create_connection(
                url, timeout=timeout, enable_multithread=True, skip_utf8_validation=True
            )
        except websocket.WebSocketBadStatusException as error:
            if error.status_code in REFUSALS:
                raise ClientError(REFUSALS[error.status_code], _reason(error)) from None
            raise LinkLost(str(error)) from error
        except (OSError, websocket.WebSocketException) as error:
            raise LinkLost(str(error)) from error

    def _shake_hands(self, auth: Mapping[str, Any] | None) -> None:
        opening = self._receive()
        if opening[:1] != "0":
            raise LinkLost("This is not an Engine.IO server")
        terms = self._decode(opening[1:])
        self._max_bytes = int(terms.get("maxPayload", 0))
        self._send(b"40" + (json.dumps(auth).encode() if auth else b""))
        while (answer := self._receive())[:2] != "40":
            if answer[:2] == "44":
                refusal = self._decode(answer[2:])
                facts = refusal.get("data") or {}
                code = facts.get("code", "forbidden") if isinstance(facts, dict) else "forbidden"
                raise ClientError(str(code), str(refusal.get("message", "Refused")))
        # The server pings; a silence longer than this means that the link is dead.
        silence = (int(terms["pingInterval"]) + int(terms["pingTimeout"])) / 1000
        self._socket.settimeout(silence)

    def _receive(self) -> str:
        """The next packet, pings answered on the way."""
        while True:
            try:
                packet = self._socket.recv()
            except (OSError, ValueError, websocket.WebSocketException) as error:
                raise LinkLost(str(error)) from error
            if packet == "2":
                self._send(b"3")
            elif not isinstance(packet, str) or packet[:1] in ("", "1"):
                raise LinkLost("The server closed the connection")
            else:
                return packet

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet, websocket.ABNF.OPCODE_TEXT)
        except (OSError, websocket.WebSocketException) as error:
            self.abort()  # half a frame may have left
            raise LinkLost(str(error)) from error

    @staticmethod
    def _decode(text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LinkLost(f"The server sent what is not JSON: {error}") from error


def _reason(error: websocket.WebSocketBadStatusException) -> str:
    """Why a handshake was refused, in the server's own words if it gave any."""
    body = error.resp_body
    try:
        return str(json.loads(body)["message"]) if body else str(error)
    except (ValueError, KeyError, TypeError):
        return str(error)
