"""What tests of the clients share: a bad network, and a handler that keeps what it got."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable

from python_pubsub_server.client import Received

TIMEOUT = 20.0


def soon() -> float:
    """Randomness under which no retry waits."""
    return 0.01


class Inbox:
    """A handler that keeps what it got, for a test to wait for."""

    def __init__(self) -> None:
        self._got: queue.Queue[Received] = queue.Queue()
        self.all: list[Received] = []

    def __call__(self, message: Received) -> None:
        self.all.append(message)
        self._got.put(message)

    def next(self, count: int) -> list[Received]:
        return [self._got.get(timeout=TIMEOUT) for _ in range(count)]

    def sequences(self, count: int) -> list[int]:
        return [message.sequence for message in self.next(count)]


class Proxy:
    """A TCP relay whose connections can be cut, slowed down, and whose answers can be swallowed."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.is_mute = False
        self.delay = 0.0  # seconds for each piece, either way
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(TIMEOUT)
        for each in self._sockets:
            each.close()

    def cut(self) -> None:
        for each in list(self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            self._start(self._relay, client, server, False)
            self._start(self._relay, server, client, True)

    def _relay(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                if not (is_answer and self.is_mute):
                    target.sendall(data)
        except OSError:
            return
        finally:
            for each in (source, target):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
