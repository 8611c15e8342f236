"""Looks whether a Redis can be the bus."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from .bus import BusFailed
from .redis_link import FAILURES, connect, reason_of


class Examined(msgspec.Struct, frozen=True):
    """A Redis that answers. `now` is its clock's Unix time."""

    version: str
    milliseconds: float
    now: float


def examine(url: str) -> Examined:
    """Ask a Redis what every node asks of it. Raises BusFailed."""
    try:
        with connect(url, "pubsub-server-doctor") as client:
            client.ping()
            begun = time.monotonic()
            seconds, microseconds = _of(client.time())
            took = time.monotonic() - begun
            client.publish("pubsub:doctor", b"")
            version = str(_of(client.info("server")).get("redis_version", "?"))
    except FAILURES as error:
        raise BusFailed(reason_of(error, url)) from error
    return Examined(version, round(took * 1_000, 1), seconds + microseconds / 1e6)


def _of(answer: Any) -> Any:
    """An answer of a client that waits for it; the library's types allow both kinds."""
    return answer
