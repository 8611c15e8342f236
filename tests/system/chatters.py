"""Clients of the chat, over both of its transports, that speak of it in the same words."""

from __future__ import annotations

import queue
from typing import Any, Protocol
from urllib.parse import urlencode

import requests

from system.clients import TIMEOUT, InlineClient, hang_up
from system.plain import PlainClient


class Chatter(Protocol):
    user: str

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a request."""

    def next(self, kind: str | None = None) -> Any:
        """The data of the next event, which must be that one; without a name, both."""

    def call(self, kind: str, **fields: Any) -> Any:
        """Send a request; its answer. What came before it is dropped."""

    def close(self) -> None: ...


class PlainChatter:
    """Over `/chat/ws`, by the `websockets` library."""

    def __init__(self, url: str, **query: str) -> None:
        path = "/chat/ws" + (f"?{urlencode(query)}" if query else "")
        self.client = PlainClient(url, path, max_queue=None)
        self.connected = self.next("connected")
        self.user: str = self.connected["user"]

    def tell(self, kind: str, **fields: Any) -> None:
        self.client.send({"type": kind, **fields})

    def next(self, kind: str | None = None) -> Any:
        frame = self.client.next(kind)
        return frame["data"] if kind else (frame["type"], frame["data"])

    def call(self, kind: str, **fields: Any) -> Any:
        return self.client.call(kind, **fields)

    def close(self) -> None:
        self.client.socket.close()


class SocketIOChatter:
    """Over the namespace `/chat`, by python-socketio."""

    def __init__(self, url: str, **query: str) -> None:
        self.http = requests.Session()
        self.sio = InlineClient(reconnection=False, handle_sigint=False, http_session=self.http)
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.sio.on("*", lambda event, body: self.events.put((event, body)), namespace="/chat")
        self.sio.connect(
            url + (f"?{urlencode(query)}" if query else ""),
            transports=["websocket"],
            namespaces=["/chat"],
            wait_timeout=TIMEOUT,
        )
        self.connected = self.next("connected")
        self.user: str = self.connected["user"]

    def tell(self, kind: str, **fields: Any) -> None:
        self.sio.emit(kind, fields, namespace="/chat")

    def next(self, kind: str | None = None) -> Any:
        event, body = self.events.get(timeout=TIMEOUT)
        assert kind in (None, event), (event, body)
        assert list(body) == ["data"], body
        return body["data"] if kind else (event, body["data"])

    def call(self, kind: str, **fields: Any) -> Any:
        return self.sio.call(kind, fields, namespace="/chat", timeout=TIMEOUT)

    def close(self) -> None:
        hang_up(self.sio)


def joined(chatter: Chatter, room: str, **more: Any) -> list[Any]:
    """Join a room; the messages of the history that came."""
    chatter.tell("join", room=room, **more)
    chatter.next("presence")
    if "last_seq" not in more:
        assert chatter.next("message")["content"] == f"{chatter.user} joined the room"
    return next_history(chatter)


def next_history(chatter: Chatter) -> list[Any]:
    while True:
        event, data = chatter.next()
        if event == "history":
            messages: list[Any] = data["messages"]
            return messages


def next_said(chatter: Chatter) -> Any:
    """The next message that a user wrote."""
    while True:
        event, data = chatter.next()
        if event == "message" and data["user"] != "system":
            return data


def next_notice(chatter: Chatter) -> str:
    """What the system says next."""
    while True:
        event, data = chatter.next()
        if event == "message" and data["user"] == "system":
            text: str = data["content"]
            return text


def next_statuses(chatter: Chatter, wanted: dict[str, str]) -> None:
    """Wait for a presence that shows users as they are wanted, whoever else is there."""
    while True:
        event, data = chatter.next()
        if event == "presence":
            shown = {each["user"]: each["status"] for each in data["users"]}
            if shown.items() >= wanted.items():
                return
