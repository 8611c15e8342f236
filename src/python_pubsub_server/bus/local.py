"""The bus of a node that is alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model import Message
from .bus import Card, Hear, HearChannel, HearEntry, channel_matches


class LocalBus:
    """Nobody else is there; what is published on a channel reaches this node's own listeners."""

    is_shared = False
    failure: str | None = None

    def __init__(self) -> None:
        self._listeners: list[tuple[str, HearChannel]] = []

    def on_channel(self, pattern: str, hear: HearChannel) -> None:
        self._listeners.append((pattern, hear))

    def on_entry(self, hear: HearEntry) -> None:
        pass

    def start(self, hear: Hear, changed: Callable[[], None]) -> None:
        pass

    def announce(self, first: int, last: int, messages: Sequence[Message] | None) -> None:
        pass

    def publish(self, channel: str, payload: bytes) -> None:
        for pattern, hear in self._listeners:
            if channel_matches(pattern, channel):
                hear(channel, payload)

    def exchange(self, card: Card) -> Sequence[Card]:
        return ()

    def withdraw(self, node_id: str) -> None:
        pass

    def close(self, timeout: float) -> None:
        self._listeners.clear()
