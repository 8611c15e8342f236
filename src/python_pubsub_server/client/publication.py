"""A publish, until it is answered for good."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from .backoff import Backoff
from .confirmations import AGAIN
from .values import ClientError, Receipt, error_of


class Publication:
    """A body to send again and again until `outcome` gives a receipt, or `deadline` is over."""

    def __init__(
        self,
        fields: Mapping[str, Any],
        timeout: float,
        *,
        clock: Callable[[], float],
        backoff: Backoff,
    ) -> None:
        """Raises ValueError and TypeError for what is not JSON."""
        self.body = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        self.body.encode()  # a lone surrogate is an error of the caller, not of the connection
        self.deadline = clock() + timeout
        self._clock = clock
        self._backoff = backoff
        self._failures = 0

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.deadline - self._clock())

    def outcome(self, answer: Mapping[str, Any]) -> Receipt | float:
        """The receipt, or the seconds to wait before it is sent again. Raises ClientError."""
        error = error_of(answer)
        if error is None:
            return Receipt(answer["sequence"], answer["timestamp"], answer["duplicate"])
        self._failures += 1
        delay = self._backoff.delay(self._failures)
        if error.code not in AGAIN or self._clock() + delay >= self.deadline:
            raise error
        return delay


def fields_of(topic: str, message: Any, producer: str, message_id: str | None) -> Mapping[str, Any]:
    """The body of a publish; one without an id gets one, which all its repetitions share."""
    return {
        "topic": topic,
        "message_id": message_id or uuid.uuid4().hex,
        "message": message,
        "producer": producer,
    }


def check_timeout(timeout: float, most: float) -> None:
    if timeout > most:
        raise ValueError(
            f"A timeout of {timeout} s is too long to retry in; at most {most} s is safe"
        )


def no_answer(event: str) -> ClientError:
    return ClientError("timeout", f"The server did not answer `{event}` in time")
