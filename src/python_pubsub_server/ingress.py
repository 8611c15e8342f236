"""Messages that other programs leave with the bus, published like any others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Raw

from . import logs
from .broker import Broker
from .bus.bus import Verdict
from .errors import Invalid, RequestError, Unavailable
from .identity import SERVER
from .model import Draft, Published
from .wire import parse_draft

FIELDS = ("topic", "message_id", "producer")


class Ingress:
    """The use case of publishing an entry. Who may write to the bus may publish everything."""

    def __init__(self, broker: Broker, max_bytes: int) -> None:
        self._broker = broker
        self._max_bytes = max_bytes

    def take(self, fields: Mapping[bytes, bytes], judge: Callable[[Verdict, str], None]) -> None:
        """Publish an entry; `judge` hears what became of it, at once or later."""

        def answer(outcome: Sequence[Published] | RequestError) -> None:
            if isinstance(outcome, RequestError):
                refuse(outcome)
            else:
                judge(Verdict.PUBLISHED, "")

        def refuse(error: RequestError) -> None:
            if isinstance(error, Unavailable):
                judge(Verdict.LATER, error.message)
                return
            logs.event(logging.WARNING, "ingress_refused", reason=error.message)
            judge(Verdict.REFUSED, error.message)

        try:
            self._broker.publish_soon(SERVER, self._draft(fields), answer)
        except RequestError as error:
            refuse(error)

    def _draft(self, fields: Mapping[bytes, bytes]) -> Draft:
        """Fields as text, and `message` as the JSON text that it is. Raises Invalid, TooLarge."""
        try:
            body: dict[str, object] = {
                name: fields[name.encode()].decode() for name in FIELDS if name.encode() in fields
            }
            if b"message" in fields:
                msgspec.json.decode(fields[b"message"])  # one value, and nothing behind it
                body["message"] = Raw(fields[b"message"])
        except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
            raise Invalid(f"The fields must be UTF-8 text, and `message` JSON: {error}") from error
        return parse_draft(msgspec.json.encode(body), self._max_bytes)
