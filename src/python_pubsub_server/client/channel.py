"""One topic or pattern with handlers by event."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .tracks import Handler
from .values import After, Present, Receipt, Received

if TYPE_CHECKING:
    from .pubsub import PubSubClient

H = TypeVar("H")


class Handlers(Generic[H]):
    """Handlers by the event that they want. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_event: dict[str, list[H]] = {}

    def of(self, event: str) -> list[H]:
        with self._lock:
            return list(self._by_event.get(event, ()))

    def add(self, event: str, handler: H) -> None:
        with self._lock:
            self._by_event.setdefault(event, []).append(handler)

    def remove(self, event: str, handler: H | None) -> None:
        with self._lock:
            if handler is None:
                self._by_event.pop(event, None)
            elif handler in self._by_event.get(event, ()):
                self._by_event[event].remove(handler)


class Channel:
    """A topic or pattern that is subscribed with its first handler; made by `client.channel()`.

    The events are `message`, or the one that the topic has in place of it: `notification`,
    `suggestion:vote`, `resource:update`. A handler that raises has all handlers of the event
    called again.
    """

    def __init__(self, client: PubSubClient, topic: str, after: After) -> None:
        self.topic = topic
        self._client = client
        self._after = after
        self._handlers: Handlers[Handler] = Handlers()
        self._joining = threading.Lock()
        self._is_joined = False

    def on(self, event: str, handler: Handler, *, timeout: float = 30.0) -> Callable[[], None]:
        """Call the handler at each such event; the first one subscribes. Returns what ends it.

        Raises ClientError and ValueError, as `PubSubClient.subscribe`.
        """
        self._handlers.add(event, handler)
        try:
            self._join(timeout)
        except BaseException:
            self._handlers.remove(event, handler)
            raise
        return lambda: self._handlers.remove(event, handler)

    def off(self, event: str, handler: Handler | None = None) -> None:
        """Take a handler off; without one, all of that event. The subscription stays."""
        self._handlers.remove(event, handler)

    def publish(self, message: Any, **more: Any) -> Receipt:
        """Publish on this topic; see `PubSubClient.publish`."""
        return self._client.publish(self.topic, message, **more)

    def presence(self) -> Sequence[Present]:
        """Who is here under a name."""
        return self._client.presence(self.topic)

    def unsubscribe(self) -> None:
        """Leave; the next `on` subscribes again."""
        with self._joining:
            self._is_joined = False
        self._client.unsubscribe(self.topic)

    def _join(self, timeout: float) -> None:
        with self._joining:
            if self._is_joined:
                return
            self._client.subscribe(self.topic, self._handle, self._after, timeout=timeout)
            self._is_joined = True

    def _handle(self, message: Received) -> None:
        for handler in self._handlers.of(message.event):
            handler(message)
