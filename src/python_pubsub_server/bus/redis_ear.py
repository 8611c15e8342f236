"""The native thread that hears what Redis passes on."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.client import PubSub
from redis.exceptions import ConnectionError as LostConnection

from .redis_link import FAILURES, connect, pause_after, reason_of

LOOK_SECONDS = 0.25  # how late it hears that it shall stop
PING_SECONDS = 1.0
SILENCE_SECONDS = 4.0  # of a server that is pinged every second; then the connection is dead


class Ear:
    """Hears some channels, and those with some prefixes, again and again after each failure.

    `hand` gets the channel and the bytes of each message, in this thread. `tell` hears why
    nothing can be heard, or None when everything is.
    """

    def __init__(
        self,
        url: str,
        names: Sequence[str],
        hand: Callable[[str, bytes], None],
        tell: Callable[[str | None], None],
    ) -> None:
        self._url = url
        self._channels = [name for name in names if not name.endswith("*")]
        self._patterns = [_glob(name[:-1]) + "*" for name in names if name.endswith("*")]
        self._hand = hand
        self._tell = tell
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        self._is_stopped.set()

    def run(self) -> None:
        failures = 0
        while not self._is_stopped.is_set():
            try:
                with connect(self._url, "pubsub-server") as client, client.pubsub() as pubsub:
                    pubsub.subscribe(*self._channels)
                    if self._patterns:
                        pubsub.psubscribe(*self._patterns)
                    failures = 0
                    self._listen(pubsub)
            except FAILURES as error:
                failures += 1
                self._tell(reason_of(error, self._url))
                self._is_stopped.wait(pause_after(failures))

    def _listen(self, pubsub: PubSub) -> None:
        to_confirm = len(self._channels) + len(self._patterns)
        heard_at = pinged_at = time.monotonic()
        while not self._is_stopped.is_set():
            message: dict[str, Any] | None = pubsub.get_message(timeout=LOOK_SECONDS)
            now = time.monotonic()
            if message is None:
                if now - heard_at > SILENCE_SECONDS:
                    raise LostConnection("Redis does not answer")
                if now - max(heard_at, pinged_at) > PING_SECONDS:
                    pubsub.ping()
                    pinged_at = now
                continue
            heard_at = now
            if message["type"] in ("subscribe", "psubscribe"):
                to_confirm -= 1
                if not to_confirm:
                    self._tell(None)
            elif message["type"] in ("message", "pmessage"):
                self._hand(message["channel"].decode("utf-8", "replace"), message["data"])


def _glob(text: str) -> str:
    """Text that means itself in a pattern of Redis."""
    return re.sub(r"([\[\]?*^\\-])", r"\\\1", text)
