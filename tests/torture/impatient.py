"""The server, which waits for a locked database only half a second: a test sees it give up."""

from __future__ import annotations

from functools import partial

from python_pubsub_server import node, pubsub_ws

BUSY_SECONDS = 0.5

if __name__ == "__main__":
    node.open_database = partial(node.open_database, busy_timeout_seconds=BUSY_SECONDS)
    pubsub_ws.main()
