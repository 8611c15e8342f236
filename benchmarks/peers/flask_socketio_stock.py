"""Flask-SocketIO on eventlet as its documentation shows it; it fans out and stores nothing.

One thing is not stock: `max_size`, without which eventlet serves 1,024 connections and lets every
further one wait for ever.
"""

from __future__ import annotations

import warnings

warnings.simplefilter("ignore")

import eventlet  # noqa: E402

eventlet.monkey_patch()

import sys  # noqa: E402
import time  # noqa: E402
from itertools import count  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, join_room  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="eventlet")
sequences = count(1)


def deliver(draft: dict[str, Any]) -> None:
    message = {**draft, "timestamp": time.time(), "sequence": next(sequences)}
    socketio.emit("message", message, to=draft["topic"])


@app.post("/publish")
def publish() -> dict[str, str]:
    deliver(request.get_json())
    return {"status": "ok"}


@socketio.on("subscribe")
def subscribe(wanted: dict[str, Any]) -> dict[str, str]:
    for topic in wanted["topics"]:
        join_room(topic)
    return {"status": "ok"}


@socketio.on("publish")
def publish_event(draft: dict[str, Any]) -> dict[str, str]:
    deliver(draft)
    return {"status": "ok"}


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), max_size=20_000, log_output=False)
