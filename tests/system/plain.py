"""A client of the plain WebSocket doors, by the `websockets` library."""

from __future__ import annotations

import json
from typing import Any

from websockets.sync.client import ClientConnection, connect

TIMEOUT = 20.0


class PlainClient:
    """Speaks JSON frames; what comes is read in the order in which it came."""

    def __init__(self, url: str, path: str = "/ws", **options: Any) -> None:
        self.socket: ClientConnection = connect(
            url.replace("http", "ws", 1) + path,
            open_timeout=TIMEOUT, proxy=None, compression=None, max_size=None, legacy=True,
            **options,
        )  # fmt: skip
        self.asked = 0

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frame: object) -> None:
        self.socket.send(json.dumps(frame))

    def send_text(self, text: str | bytes) -> None:
        self.socket.send(text)

    def next(self, kind: str | None = None) -> Any:
        """The next frame, which must be of that type."""
        frame = json.loads(self.socket.recv(TIMEOUT))
        assert kind in (None, frame["type"]), frame
        return frame

    def ask(self, kind: str, **fields: Any) -> int:
        """Send a frame that wants an answer; its id."""
        self.asked += 1
        self.send({"type": kind, "id": self.asked, **fields})
        return self.asked

    def call(self, kind: str, **fields: Any) -> Any:
        """The answer to a frame, with what came before it at `before`."""
        asked = self.ask(kind, **fields)
        self.before: list[Any] = []
        while True:
            frame = self.next()
            if frame["type"] == "ack" and frame["id"] == asked:
                return {key: value for key, value in frame.items() if key not in ("type", "id")}
            self.before.append(frame)

    def subscribe(self, *topics: str, consumer: str = "c", **more: Any) -> Any:
        """Subscribe; the answer, which says the same as the frame `subscribed`."""
        answer = self.call("subscribe", consumer=consumer, topics=list(topics), **more)
        assert answer["status"] == "ok", answer
        assert self.before[0] == {"type": "subscribed", "data": answer}
        return answer

    def messages(self, count: int) -> list[Any]:
        return [self.next("message")["data"] for _ in range(count)]

    def error(self) -> Any:
        return self.next("error")["data"]

    def assert_alive_and_silent(self) -> None:
        self.send({"type": "ping"})
        assert self.next() == {"type": "pong"}
