"""What a user of the client gets and gives: messages, receipts, errors, where to begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..errors import PubSubError

# Where a subscription begins: behind a sequence, at the beginning, or at what this consumer has
# not consumed. None: from now on.
Start = int | Literal["beginning", "consumed"]
After = Start | Mapping[str, Start] | None


class Received(msgspec.Struct, frozen=True):
    """A message as a handler gets it; `replayed` tells that it was published before it was asked
    for."""

    topic: str
    message_id: str
    message: Any
    producer: str
    timestamp: float
    sequence: int
    replayed: bool = False


class Receipt(msgspec.Struct, frozen=True):
    """The server stored a publish; a duplicate was stored before, with this sequence and time."""

    sequence: int
    timestamp: float
    duplicate: bool


class ClientError(PubSubError):
    """Something that the client was asked for did not happen.

    `code` is the server's (`invalid`, `forbidden`, `too_large`, ...) or the client's own:
    `timeout` (no answer in time), `closed` (the client is), `missing` (a package is).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def error_of(answer: Mapping[str, Any]) -> ClientError | None:
    """The error that an acknowledgement carries, None when it says `ok`."""
    if answer.get("status") == "ok":
        return None
    return ClientError(
        str(answer.get("code", "invalid")), str(answer.get("message", "The server refused this"))
    )
