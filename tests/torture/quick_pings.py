"""The server with pings a second apart, so that a test sees one time out."""

from __future__ import annotations

from functools import partial

from python_pubsub_server import pubsub_ws

PING_SECONDS = 0.5

if __name__ == "__main__":
    pubsub_ws.build_socketio = partial(
        pubsub_ws.build_socketio, ping_interval=PING_SECONDS, ping_timeout=PING_SECONDS
    )
    pubsub_ws.main()
