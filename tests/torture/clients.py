"""A Socket.IO client by hand: quick enough to load the server, and it hides nothing."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import websocket

TIMEOUT = 120.0  # of what ends by itself in a moment: the machine may be busy

# What a client sees when its server is killed.
Gone = (OSError, websocket.WebSocketException)


class Link:
    """One connection on the namespace `/`, used by one thread."""

    def __init__(self, url: str, receive_buffer: int | None = None) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if receive_buffer is not None:
            options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer))
        self.socket = websocket.create_connection(
            url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket",
            timeout=TIMEOUT,
            sockopt=options,
            skip_utf8_validation=True,
        )
        try:
            self._packet()
            self.socket.send("40")
            self._packet()
        except BaseException:
            self.socket.close(timeout=0)
            raise
        self.waiting = 0  # answers that have not come
        self._last_id = 0

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """End it without a goodbye."""
        if self.socket.sock is not None:
            self.socket.sock.close()

    def interrupt(self) -> None:
        """Let the thread that reads from it see an end; the one method for another thread."""
        sock = self.socket.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # the server was first
                sock.shutdown(socket.SHUT_RDWR)

    def ask(self, event: str, argument: Any) -> int:
        """Send an event; the number by which its answer will be known."""
        self._last_id += 1
        self.waiting += 1
        self.socket.send(f"42{self._last_id}{json.dumps([event, argument])}")
        return self._last_id

    def next(self) -> tuple[str | int, Any]:
        """What comes next: an event by its name, or an answer by its number."""
        packet = self._packet()
        start = packet.index("[")
        content = json.loads(packet[start:])
        if packet[1] == "3":
            self.waiting -= 1
            return int(packet[2:start]), content[0]
        return content[0], content[1]

    def call(self, event: str, argument: Any) -> Any:
        """An event's answer; nothing else but its own event may come before."""
        number = self.ask(event, argument)
        while True:
            name, content = self.next()
            if name == number:
                return content
            assert name in ("subscribed", "unsubscribed"), (name, content)

    def subscribe(self, consumer: str, topics: list[str], **more: Any) -> Any:
        """Where the subscription begins; messages come behind it, the answer behind the replay."""
        return self._join({"consumer": consumer, "topics": topics, **more})

    def subscribe_anonymously(self, topic: str, **more: Any) -> Any:
        """The same without a name, of which the server stores nothing."""
        return self._join({"channel": topic, **more})

    def _join(self, request: dict[str, Any]) -> Any:
        self.ask("subscribe", request)
        name, content = self.next()
        assert name == "subscribed", (name, content)
        return content

    def _packet(self) -> str:
        while True:
            packet = self.socket.recv()
            if not packet:
                raise websocket.WebSocketConnectionClosedException("closed")
            if packet != "2":
                return str(packet)
            self.socket.send("3")


class Worker:
    """A thread whose failure is the test's; it may wait until the server is there."""

    def __init__(self, is_up: threading.Event) -> None:
        self.is_up = is_up
        self.is_stopping = False
        self.changed = threading.Condition()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._live, daemon=True)

    def run(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        self.thread.start()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it has come to that, or the worker failed."""
        with self.changed:
            came = self.changed.wait_for(lambda: self.failure or condition(), TIMEOUT)
        if self.failure is not None:
            raise self.failure
        assert came, f"{self} did not come to that"

    def tell(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def join(self) -> None:
        self.thread.join(TIMEOUT)
        if self.failure is not None:
            raise self.failure
        assert not self.thread.is_alive(), f"{self} does not end"

    def _live(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001 - raised again by the test's thread
            self.failure = error
        self.tell()
