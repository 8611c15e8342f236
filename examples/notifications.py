#!/usr/bin/env python3
"""Print what concerns one user, with the official client: its notifications, the votes, and what
happens to one resource. What comes while the connection is lost is printed when it is back.

    pip install -r examples/requirements.txt
    python examples/notifications.py --user ann --resource plan

A server with authentication wants a token: TOKEN=... in the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

try:
    import requests  # noqa: F401 - python-socketio connects with it
    import socketio
except ImportError as error:
    sys.exit(f"{error.name} is missing: pip install -r examples/requirements.txt")

DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "notification": lambda content: content["title"],
    "suggestion:vote": lambda vote: f"{vote['suggestion_id']} stands at {vote['score']}",
    "resource:update": lambda update: json.dumps(update, separators=(",", ":")),
}


class Notifications:
    """Follows what concerns a user; after each (re)connection it goes on where it stopped."""

    def __init__(self, user: str, resource: str, count: int) -> None:
        self._user = user
        self._topics = [
            f"notifications:{user}",
            "suggestions:votes",
            f"resource:updates:{resource}",
        ]
        self._places: dict[str, int] = {}  # the last sequence of each topic that is known
        self._epoch: str | None = None
        self._left = count
        self._lock = threading.Lock()  # events come in threads of their own
        self._ended = threading.Event()
        self._failure: str | None = None
        self._client = socketio.Client(reconnection_delay=0.2, reconnection_delay_max=5)
        self._client.on("connect", self._subscribe)
        self._client.on("subscribed", self._subscribed)
        self._client.on("disconnect", lambda reason=None: _warn(f"disconnected: {reason}"))
        self._client.on("error", lambda error: _warn(f"error: {error['code']}: {error['message']}"))
        for event in DESCRIPTIONS:
            self._client.on(event, lambda message, event=event: self._show(event, message))

    def run(self, url: str) -> str | None:
        """Follow until enough was printed; why it could not, None when it could."""
        # Whole messages: they say their place, and one can resume behind it.
        self._client.connect(url + "?envelope=true", auth=_credentials, retry=True)
        try:
            self._ended.wait()
        finally:
            self._client.disconnect()
        return self._failure

    def _subscribe(self) -> None:
        wanted: dict[str, Any] = {"consumer": self._user, "topics": self._topics}
        with self._lock:
            if self._epoch is not None:
                wanted |= {"after": dict(self._places), "epoch": self._epoch}
        self._client.emit("subscribe", wanted, callback=self._answered)

    def _answered(self, answer: dict[str, Any]) -> None:
        if answer["status"] != "ok":
            self._failure = f"cannot subscribe: {answer['message']}"
            self._ended.set()

    def _subscribed(self, report: dict[str, Any]) -> None:
        with self._lock:
            if report["epoch"] != self._epoch:
                self._places = {}
            self._epoch = report["epoch"]
            for row in report["topics"]:
                begin = row["sequence"] - row["replayed"]
                self._places[row["topic"]] = max(self._places.get(row["topic"], 0), begin)
                if not row["recovered"]:
                    _warn(f"some of {row['topic']} is lost")
        _warn("subscribed")

    def _show(self, event: str, message: dict[str, Any]) -> None:
        topic, sequence = message["topic"], message["sequence"]
        with self._lock:
            # This client gives each event a thread, so two may come in the wrong order.
            if sequence is not None:  # None: said through Redis, not in the log
                self._places[topic] = max(self._places.get(topic, 0), sequence)
            print(f"{event}: {DESCRIPTIONS[event](message['message'])}", flush=True)
            self._left -= 1
            if self._left == 0:
                self._ended.set()


def _credentials() -> dict[str, str]:
    """Asked at each connect; an application would ask its own server for a new token."""
    token = os.environ.get("TOKEN")
    return {"token": token} if token else {}


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print what concerns one user.")
    parser.add_argument("--url", default="http://localhost:5000", help="the server's address")
    parser.add_argument("--user", default="ann", help="whose notifications")
    parser.add_argument("--resource", default="plan", help="the id of a resource")
    parser.add_argument("--count", type=int, default=0, help="events to print; 0: no end")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    notifications = Notifications(chosen.user, chosen.resource, chosen.count)
    try:
        failure = notifications.run(chosen.url)
    except KeyboardInterrupt:
        return
    if failure:
        sys.exit(failure)


if __name__ == "__main__":
    main()
