"""A connection without a transport, for tests of what stands behind `transport.connection`."""

from __future__ import annotations

from python_pubsub_server.transport.connection import Broadcast


class Someone:
    """A connection to which nothing needs to come; it keeps why it was closed."""

    address = "127.0.0.1"
    backlog = 0
    stalled_at: float | None = None

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        self.closed_as: str | None = None

    def send(self, broadcast: Broadcast) -> None:
        pass

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return True

    def close(self, reason: str) -> None:
        self.closed_as = self.closed_as or reason
