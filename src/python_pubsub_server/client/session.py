"""What the parts of a client share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .backoff import Backoff
from .calls import Calls
from .link import Link
from .tracks import Tracks
from .values import ClientError


class Session:
    """The state of a client over all its connections; `changed` guards all but `calls`."""

    def __init__(self, consumer: str | None, backoff: Backoff, clock: Callable[[], float]) -> None:
        self.consumer = consumer
        self.backoff = backoff
        self.clock = clock
        self.calls = Calls()
        self.changed = threading.Condition()
        self.tracks = Tracks()
        self.link: Link | None = None
        self.epoch: str | None = None
        # Whether this connection speaks of the log that `epoch` names.
        self.is_epoch_checked = False
        self.is_closing = False
        self.is_ended = False

    def pause(self, seconds: float) -> bool:
        """Wait, unless the client closes; whether it does."""
        with self.changed:
            return self.changed.wait_for(lambda: self.is_closing, seconds)


def closed() -> ClientError:
    return ClientError("closed", "The client is closed")
