"""Many Socket.IO connections in one thread, spoken by hand: what does a crowd do to a server?"""

from __future__ import annotations

import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 60.0
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(text: str) -> bytes:
    """A client's text frame (RFC 6455 §5.2); a mask of zeros leaves the text as it is."""
    data = text.encode()
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    return head + b"\0\0\0\0" + data


class Bee:
    """One connection: what it has received, and what it is waiting for."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.setblocking(False)
        self.received = bytearray()
        self.is_open = True

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> None:
        """Take what is there."""
        while self.is_open:
            try:
                data = self.sock.recv(2**20)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.is_open = False
            self.received += data

    def close(self) -> None:
        self.sock.close()
        self.is_open = False

    def kill(self) -> None:
        """Vanish without a word: the peer sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Swarm:
    """Connections that are read together."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bees: list[Bee] = []
        self._selector = selectors.DefaultSelector()

    def grow(self, count: int, *, at_once: int = 200) -> list[Bee]:
        """Open connections and join the namespace `/`; they are all connected then."""
        born: list[Bee] = []
        while len(born) < count:
            group = [Bee(self.port) for _ in range(min(at_once, count - len(born)))]
            for bee in group:
                self._selector.register(bee.sock, selectors.EVENT_READ, bee)
                bee.send(UPGRADE)
            self.bees += group
            self.until(lambda group=group: all(b'"sid"' in bee.received for bee in group))
            for bee in group:
                bee.received.clear()
                bee.send(masked("40"))
            self.until(lambda group=group: all(b"40{" in bee.received for bee in group))
            born += group
        return born

    def subscribe(self, bees: list[Bee], topic: str) -> None:
        for number, bee in enumerate(bees):
            bee.send(masked(f'420["subscribe",{{"consumer":"bee-{number}","topics":["{topic}"]}}]'))
        self.until(lambda: all(b'430[{"status":"ok"' in bee.received for bee in bees))

    def until(self, is_true: Callable[[], bool]) -> None:
        """Read until something holds."""
        give_up_at = time.monotonic() + TIMEOUT
        while not is_true():
            assert time.monotonic() < give_up_at, "it did not happen in time"
            for key, _ in self._selector.select(0.1):
                bee: Bee = key.data
                bee.read()
                if not bee.is_open:
                    self._selector.unregister(bee.sock)

    def remove(self, bee: Bee, *, by_killing: bool = False) -> None:
        if bee.is_open:
            self._selector.unregister(bee.sock)
        bee.kill() if by_killing else bee.close()
        self.bees.remove(bee)

    def close(self) -> None:
        for bee in self.bees:
            bee.close()
        self._selector.close()


@contextmanager
def swarm(port: int) -> Iterator[Swarm]:
    """A swarm that may be as large as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = Swarm(port)
    try:
        yield many
    finally:
        many.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
