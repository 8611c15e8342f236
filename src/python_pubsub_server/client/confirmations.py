"""What was consumed and is not known to be recorded yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .values import Received, error_of

AGAIN = frozenset({"unavailable", "rate_limited"})

Key = tuple[str, int]


class Confirmations:
    """The consumptions to be confirmed, oldest first. The client calls it under its lock."""

    def __init__(self, consumer: str | None) -> None:
        self._consumer = consumer
        self._bodies: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._bodies)

    def add(self, message: Received) -> str | None:
        """A handler returned: the `consumed` to send, None for a client without a name."""
        if self._consumer is None:
            return None
        body = json.dumps(
            {
                "consumer": self._consumer,
                "topic": message.topic,
                "message_id": message.message_id,
                "sequence": message.sequence,
            }
        )
        self._bodies[message.topic, message.sequence] = body
        return body

    def waiting(self) -> list[tuple[Key, str]]:
        return list(self._bodies.items())

    def clear(self) -> None:
        """The log is another one: these sequences mean nothing any more."""
        self._bodies.clear()

    def answered(self, key: Key, answer: Mapping[str, Any]) -> tuple[bool, bool]:
        """Whether it is settled for good, and whether it is recorded."""
        error = error_of(answer)
        if error is not None and error.code in AGAIN:
            return False, False
        self._bodies.pop(key, None)
        # What retention removed in the meantime cannot be confirmed and will not come again.
        return True, error is None or error.code == "not_found"
