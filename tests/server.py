"""A real server in a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests

from engines import bus_settings, database_url, lose_log

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0
WAIT_TIMEOUT = 30.0
POLL_SECONDS = 0.02

T = TypeVar("T")


def serve_command(**settings: object) -> list[str]:
    """The command that starts a server with these settings."""
    return [
        *(sys.executable, "-m", "python_pubsub_server.pubsub_ws"),
        *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()),
    ]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment for a server from this checkout."""
    ours = {
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    return os.environ | ours | variables


class RunningServer:
    """`with RunningServer(tmp_path) as server:` is a server that listens at `server.url`.

    Settings are given by name (`durability="normal"`). After `stop()` or `kill()`, `start()`
    brings it back on the same port and database. Which kinds of database and bus it has unless
    a setting says so: see `engines`.
    """

    def __init__(self, directory: Path, *, port: int = 0, **settings: object) -> None:
        self.directory = directory
        self.port = port
        self.settings = {
            "host": "127.0.0.1",
            "log_level": "debug",
            "async_mode": os.environ.get("TEST_ASYNC_MODE", "eventlet"),
            **bus_settings(),
            **settings,
        }
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.http = requests.Session()
        self.http.trust_env = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        return str(self.settings.get("database_url") or database_url(self.directory))

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def __enter__(self) -> RunningServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.process is not None:
            self.kill()

    def start(self) -> RunningServer:
        """Start it and wait until it listens."""
        options = {"port": self.port, "database_url": self.database_url, **self.settings}
        self.process = subprocess.Popen(
            serve_command(**options),
            cwd=self.directory,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        listening = threading.Event()
        thread = threading.Thread(target=self._read, args=(self.process, listening), daemon=True)
        thread.start()
        if not listening.wait(START_TIMEOUT) or self.process.poll() is not None:
            self._end(signal.SIGABRT)  # faulthandler tells where it stood
            thread.join(STOP_TIMEOUT)
            raise AssertionError(f"the server did not start:\n{self.log[-5_000:]}")
        return self

    def stop(self) -> int:
        """Ask it to stop, as an operator would; its exit code."""
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        """Press Ctrl-C; its exit code."""
        return self._end(signal.SIGINT)

    def kill(self) -> int:
        """End it as a crash would."""
        return self._end(signal.SIGKILL)

    def lose_log(self) -> None:
        """Take its database away, while it is stopped."""
        lose_log(self.directory)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a GET that must succeed."""
        response = self.http.get(self.url + path, params=parameters, timeout=30)
        assert response.status_code == 200, response.text
        return response.json()

    def until(self, condition: Callable[[], T]) -> T:
        """Ask again and again until the answer is not empty; what it was."""
        give_up_at = time.monotonic() + WAIT_TIMEOUT
        while time.monotonic() < give_up_at:
            answer = condition()
            if answer:
                return answer
            time.sleep(POLL_SECONDS)  # each question is work for the server
        raise AssertionError(f"it did not come to that; the log:\n{self.log[-5_000:]}")

    def publish(
        self, topic: str, message: object, *, message_id: str = "m-1", producer: str = "test"
    ) -> requests.Response:
        body = {
            "topic": topic,
            "message_id": message_id,
            "message": message,
            "producer": producer,
        }
        return self.http.post(self.url + "/publish", json=body, timeout=30)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        code = process.wait(STOP_TIMEOUT)
        assert process.stderr is not None
        return code

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append(line)
                found = re.search(r"listening on http://\S+:(\d+)", line)
                if found:
                    self.port = int(found[1])
                    listening.set()
        listening.set()  # it ended; whoever waits sees that


def connections_of(subject: str, log: str) -> set[str]:
    """The connections of a user that a log at level debug tells of.

    Each is subscribed to the user's notifications by itself, under a name of its own.
    """
    return set(re.findall(rf" subscribed consumer={subject}/anonymous-([\w-]+)", log))
