#!/usr/bin/env python3
"""Print messages as they come, and confirm each one as consumed.

    pip install -r examples/requirements.txt
    python examples/consumer.py --consumer my-consumer --topics "host:*" orders

What is published while this program is away waits for it: it always asks for everything that this
consumer has not confirmed yet (`after: "consumed"`). A message whose confirmation got lost with
the connection therefore comes a second time; that is what at least once means.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any

try:
    import requests  # noqa: F401 - python-socketio connects with it
    import socketio
except ImportError as error:
    sys.exit(f"{error.name} is missing: pip install -r examples/requirements.txt")


class Consumer:
    """Follows topics under a name; after each (re)connection it takes up where it stopped."""

    def __init__(self, name: str, topics: list[str], count: int) -> None:
        self._name = name
        self._topics = topics
        self._left = count
        self._lock = threading.Lock()  # messages come in threads of their own
        self._ended = threading.Event()
        self._failure: str | None = None
        self._client = socketio.Client(reconnection_delay=0.2, reconnection_delay_max=5)
        self._client.on("connect", self._subscribe)
        self._client.on("connect_error", lambda reason=None: _warn(f"not connected: {reason}"))
        self._client.on("disconnect", lambda reason=None: _warn(f"disconnected: {reason}"))
        self._client.on("message", self._consume)
        self._client.on("error", lambda error: _warn(f"error: {error}"))

    def run(self, url: str) -> str | None:
        """Follow the topics until enough was confirmed; why it could not, None when it could."""
        self._client.connect(url, retry=True)
        try:
            self._ended.wait()
        finally:
            self._client.disconnect()
        return self._failure

    def _subscribe(self) -> None:
        wanted = {"consumer": self._name, "topics": self._topics, "after": "consumed"}
        self._client.emit("subscribe", wanted, callback=self._subscribed)

    def _subscribed(self, answer: dict[str, Any]) -> None:
        if answer["status"] != "ok":
            self._failure = f"cannot subscribe: {answer['message']}"
            self._ended.set()
            return
        missed = sum(topic["replayed"] for topic in answer["topics"])
        _warn(f"subscribed to {', '.join(self._topics)}, {missed} missed messages first")

    def _consume(self, message: dict[str, Any]) -> None:
        content = json.dumps(message["message"], ensure_ascii=False)
        with self._lock:
            print(f"{message['topic']} #{message['sequence']} {content}", flush=True)
        confirmation = {
            "consumer": self._name,
            "topic": message["topic"],
            "message_id": message["message_id"],
            "sequence": message["sequence"],
        }
        try:
            self._client.emit("consumed", confirmation, callback=self._confirmed)
        except socketio.exceptions.SocketIOError:
            _warn("the connection is gone; this message will come again")

    def _confirmed(self, answer: dict[str, Any]) -> None:
        if answer["status"] != "ok":
            _warn(f"not confirmed: {answer['message']}")
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._ended.set()


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print messages and confirm each one.")
    parser.add_argument("--url", default="http://localhost:5000", help="the server's address")
    parser.add_argument("--consumer", default="example-python", help="the name to confirm under")
    parser.add_argument("--topics", nargs="+", default=["host:*"], help="topics or patterns")
    parser.add_argument("--count", type=int, default=0, help="messages to consume; 0: no end")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    try:
        failure = Consumer(chosen.consumer, chosen.topics, chosen.count).run(chosen.url)
    except KeyboardInterrupt:
        return
    if failure:
        sys.exit(failure)


if __name__ == "__main__":
    main()
