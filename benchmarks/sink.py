"""The least that the load generator can be measured against: canned answers, canned frames.

Every WebSocket is answered at once and, from the first request on, fed the same block of frames as
fast as it takes them; every request gets the same answer. What the generator reaches here is its
ceiling: python sink.py PORT
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

FRAMES_IN_A_BLOCK = 64
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MESSAGE = (
    b'42["message",{"topic":"bench-0","message_id":"m1-1","message":"%s","producer":"bench-1",'
    b'"timestamp":1700000000.0,"sequence":1}]' % (b"~" + b"0" * 97)
)


def text_frame(payload: bytes) -> bytes:
    """A server's frame (RFC 6455 §5.2); nothing here is longer than 65,535 bytes."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload


GREETING = UPGRADE + b"".join(
    map(text_frame, (b'0{"sid":"x"}', b'40{"sid":"x"}', b'430[{"status":"ok"}]'))
)
BLOCK = memoryview(text_frame(MESSAGE) * FRAMES_IN_A_BLOCK)


class Sink:
    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.selector = selectors.EpollSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.unsent: dict[socket.socket, memoryview] = {}
        self.feeding = False

    def run(self) -> None:
        while True:
            busy = self.feeding and bool(self.unsent)
            for key, _ in self.selector.select(0 if busy else None):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.answer(key.fileobj)  # type: ignore[arg-type]
            if busy:
                self.feed()

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(connection, selectors.EVENT_READ)

    def answer(self, connection: socket.socket) -> None:
        try:
            request = connection.recv(65536)
        except ConnectionResetError:
            request = b""
        if not request:
            self.selector.unregister(connection)
            self.unsent.pop(connection, None)
            connection.close()
        elif request.startswith(b"GET "):
            connection.send(GREETING)
            self.unsent[connection] = BLOCK
        elif request.startswith(b"POST "):
            self.feeding = True
            connection.send(ANSWER)

    def feed(self) -> None:
        for connection, rest in self.unsent.items():
            # a full buffer or a peer that just left: the next turn sees to both
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self.unsent[connection] = rest[connection.send(rest) :] or BLOCK


if __name__ == "__main__":
    Sink(int(sys.argv[1])).run()
