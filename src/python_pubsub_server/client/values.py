"""What a user of the client gets and gives: messages, receipts, errors, where to begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..channels import EVENTS, EVENTS_BY_PREFIX, MESSAGE
from ..errors import PubSubError

MESSAGE_EVENTS = frozenset({MESSAGE, *EVENTS.values(), *EVENTS_BY_PREFIX.values()})

# Where a subscription begins: behind a sequence, at the beginning, or at what this consumer has
# not consumed. None: from now on.
Start = int | Literal["beginning", "consumed"]
After = Start | Mapping[str, Start] | None


class Received(msgspec.Struct, frozen=True):
    """A message as a handler gets it; `replayed` tells that it was published before it was asked
    for, `event` as which event it came: `message`, or `notification` and the like.

    What another program said through Redis is not in the log: `is_stored` is false, `message_id`
    and `producer` are empty, `sequence` is 0. It is neither confirmed nor sent again.
    """

    topic: str
    message_id: str
    message: Any
    producer: str
    timestamp: float
    sequence: int
    replayed: bool = False
    event: str = MESSAGE

    @property
    def is_stored(self) -> bool:
        return self.sequence > 0


def received(event: str, argument: Mapping[str, Any]) -> Received:
    """The message that an event of the server carries, one of `MESSAGE_EVENTS`."""
    fields = dict(argument) | {"event": event}
    if fields.get("sequence") is None:
        fields |= {"message_id": "", "producer": "", "sequence": 0}
    return msgspec.convert(fields, Received)


class Present(msgspec.Struct, frozen=True):
    """Somebody who is subscribed under a name."""

    user: str
    status: str
    last_seen: float


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
