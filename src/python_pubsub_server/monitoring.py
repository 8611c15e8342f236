"""What dashboards are told: who comes and goes, messages and consumptions as they happen, rates.

While nobody watches, a commit costs no more here than the counting of its messages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from . import logs
from .activity import Activity
from .clock import LogClock
from .errors import RequestError
from .hub import Hub
from .model import Claim, Message
from .runtime import Runtime
from .storage.database import Batch, Committed
from .transport.connection import Broadcast, Connection
from .wire import encode

# Together at most 200 in any second, and never all of them in its first moment.
EVENTS_PER_SECOND = 150.0
BURST = 50
MAX_CONTENT_BYTES = 4_096


class Census(Protocol):
    """The numbers that somebody else keeps."""

    def connections(self) -> int: ...

    def topics(self) -> int:
        """May wait. Raises RequestError."""


class Stats(msgspec.Struct, frozen=True):
    """The event `stats`: the last second. `commit_ms` is from a publish's arrival to its commit."""

    timestamp: float
    publishes_per_second: float
    deliveries_per_second: float
    consumptions_per_second: float
    connections: int
    subscriptions: int
    topics: int
    commit_ms: float | None
    commit_ms_max: float | None
    dropped: int


class Tally:
    """What happened since the last `stats`."""

    __slots__ = ("consumed", "dropped", "latency", "latency_max", "published")

    def __init__(self) -> None:
        self.published = self.consumed = self.dropped = 0
        self.latency = self.latency_max = 0.0


class Monitoring:
    """Those who watch this node, and what they see. Belongs to the event loop."""

    def __init__(
        self,
        runtime: Runtime,
        clock: LogClock,
        hub: Hub,
        census: Census,
        stats_seconds: float = 1.0,
    ) -> None:
        self.activity = Activity()
        self._runtime = runtime
        self._clock = clock
        self._hub = hub
        self._census = census
        self._stats_seconds = stats_seconds
        self._watchers: dict[str, Connection] = {}
        self._is_telling = False
        self._tally = Tally()
        self._tokens = float(BURST)
        self._filled_at = 0.0
        self._topics = 0

    def watch(self, connection: Connection) -> None:
        """Tell a connection what happens from now on, and `stats` every second."""
        self._watchers[connection.connection_id] = connection
        if not self._is_telling:
            self._is_telling = True
            self._tally = Tally()
            self._runtime.spawn(self._tell_stats)

    def leave(self, connection_id: str) -> None:
        self._watchers.pop(connection_id, None)

    def close(self) -> None:
        self._watchers.clear()

    def delivered(self, batch: Batch, outcome: Committed, fresh: Sequence[Message]) -> None:
        """Hear of a committed batch; `fresh` are its messages without the duplicates."""
        self.activity.count(fresh, batch.at)
        if not self._watchers:
            return
        claimed = [
            (claim, recorded)
            for claim, recorded in zip(batch.claims, outcome.claimed, strict=True)
            if recorded
        ]
        self._time(batch, len(fresh), sum(recorded for _, recorded in claimed))
        self._tell_some(
            [
                *(("new_message", message) for message in fresh),
                *(
                    ("new_consumption", _consumption(claim, recorded, batch.at))
                    for claim, recorded in claimed
                ),
            ]
        )

    def joined(self, consumer: str, topics: Iterable[str], at: float) -> None:
        """Hear of new subscriptions."""
        self._tell_clients("new_client", consumer, topics, {"connected_at": at})

    def left(self, consumer: str, topics: Iterable[str], at: float) -> None:
        """Hear of subscriptions that ended."""
        self._tell_clients("client_disconnected", consumer, topics, {"timestamp": at})

    def _tell_clients(
        self, event: str, consumer: str, topics: Iterable[str], more: Mapping[str, Any]
    ) -> None:
        if self._watchers:
            self._tell_some(
                [(event, {"consumer": consumer, "topic": topic, **more}) for topic in topics]
            )

    def _time(self, batch: Batch, published: int, consumed: int) -> None:
        tally, now = self._tally, self._clock.now()
        tally.consumed += consumed
        tally.published += published
        waits = [now - at for at in batch.arrived_at][:published]
        if waits:
            tally.latency += sum(waits)
            tally.latency_max = max(tally.latency_max, *waits)

    def _tell_some(self, events: Sequence[tuple[str, Any]]) -> None:
        """Send as many events as the budget allows, evenly from all of them."""
        now = self._clock.now()
        fresh = (now - self._filled_at) * EVENTS_PER_SECOND
        self._tokens = min(float(BURST), self._tokens + fresh)
        self._filled_at = now
        number = min(len(events), int(self._tokens))
        self._tokens -= number
        self._tally.dropped += len(events) - number
        for index in range(number):
            event, value = events[index * len(events) // number]
            self._send(event, _shown(value) if event == "new_message" else value)

    def _send(self, event: str, value: object) -> None:
        broadcast = Broadcast(event, [encode(value)])
        for connection in list(self._watchers.values()):
            connection.send(broadcast)

    def _tell_stats(self) -> None:
        """Tell them every second, as long as somebody watches."""
        before, delivered = self._clock.now(), self._hub.deliveries
        try:
            while self._watchers:
                self._runtime.sleep(self._stats_seconds)
                self._count_topics()
                now, deliveries = self._clock.now(), self._hub.deliveries
                tally, self._tally = self._tally, Tally()
                stats = self._stats(tally, deliveries - delivered, now, now - before)
                self._send("stats", stats)
                before, delivered = now, deliveries
        finally:
            self._is_telling = False

    def _count_topics(self) -> None:
        try:
            self._topics = self._census.topics()
        except RequestError as error:
            logs.event(logging.WARNING, "topics_not_counted", reason=error.message)

    def _stats(self, tally: Tally, deliveries: int, now: float, seconds: float) -> Stats:
        seconds = max(seconds, 0.001)
        return Stats(
            timestamp=now,
            publishes_per_second=round(tally.published / seconds, 2),
            deliveries_per_second=round(deliveries / seconds, 2),
            consumptions_per_second=round(tally.consumed / seconds, 2),
            connections=self._census.connections(),
            subscriptions=self._hub.subscription_count(),
            topics=self._topics,
            commit_ms=_milliseconds(tally.latency / tally.published) if tally.published else None,
            commit_ms_max=_milliseconds(tally.latency_max) if tally.published else None,
            dropped=tally.dropped,
        )


def _shown(message: Message) -> object:
    """A message as the log has it; one that is too long for a dashboard is only measured."""
    size = memoryview(message.message).nbytes
    if size <= MAX_CONTENT_BYTES:
        return message
    fields = msgspec.structs.asdict(message)
    del fields["message"]
    return fields | {"message_bytes": size}


def _consumption(claim: Claim, recorded: int, at: float) -> Mapping[str, object]:
    return msgspec.structs.asdict(claim) | {"recorded": recorded, "timestamp": at}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1_000, 3)
