"""Who gets what comes by a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .websocket import WebSocket

Message = str | bytes


class Receiver:
    """What becomes of a WebSocket's messages. Its methods come in the order of this list."""

    __slots__ = ()

    def opened(self, websocket: WebSocket) -> None:
        """It can be sent to from now on. Nothing is received before this returns."""

    def glance(self, message: Message, *, is_next: bool) -> bool:
        """True: dealt with already. Must not wait. `is_next`: no earlier message is queued."""
        return False

    def receive(self, message: Message) -> None:
        """The next message; may wait, and the one after it waits too."""

    def ponged(self) -> None:
        """The peer answered a ping frame. Must not wait."""

    def slow(self) -> None:
        """It did not read fast enough and is about to be closed. Must not wait."""

    def closed(self, code: int, reason: str) -> None:
        """Once, after the last message; may wait."""


NOBODY = Receiver()
