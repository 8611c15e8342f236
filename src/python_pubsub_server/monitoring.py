"""What dashboards are told: who comes and goes, messages, consumptions, alarms, rates.

While nobody watches, a commit costs no more here than the counting of its messages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

import msgspec

from . import logs
from .activity import Activity
from .alarms import Alarm, Alarms
from .bus.bus import Bus
from .clock import LogClock
from .errors import RequestError
from .hub import Hub
from .model import Claim, Message
from .onlookers import Budget, Onlookers, Stats
from .runtime import Runtime
from .storage.database import Batch, Committed
from .transport.connection import Broadcast, Connection
from .wire import encode

# Together at most 200 in any second, and never all of them in its first moment.
EVENTS_PER_SECOND = 150.0
BURST = 50
LUMP = 10  # of a flood: ten events in one piece cost little more than one
MAX_CONTENT_BYTES = 4_096
# What other nodes tell; of messages this one hears anyway.
TOLD_ELSEWHERE = frozenset(("new_client", "client_disconnected", "new_consumption"))
# Alarms have a budget of their own, so that neither they nor the messages hide the others.
ALARMS_PER_SECOND = 5.0
ALARM_BURST = 20


class Census(Protocol):
    """The numbers that somebody else keeps."""

    def connections(self) -> int: ...

    def topics(self) -> int:
        """May wait. Raises RequestError."""


class Tally:
    """What happened since the last `stats`."""

    __slots__ = ("consumed", "dropped", "latency", "latency_max", "published")

    def __init__(self) -> None:
        self.published = self.consumed = self.dropped = 0
        self.latency = self.latency_max = 0.0


class Monitoring:
    """Those who watch, and what they see of all nodes. Belongs to the event loop."""

    def __init__(
        self,
        runtime: Runtime,
        clock: LogClock,
        hub: Hub,
        census: Census,
        bus: Bus,
        log_id: str,
        node_id: str,
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
        self._budget = Budget(EVENTS_PER_SECOND, BURST, LUMP)
        self._alarm_budget = Budget(ALARMS_PER_SECOND, ALARM_BURST)
        self._topics = 0
        self._is_closed = False
        self._onlookers = Onlookers(bus, log_id, node_id, self._begin, self._told_elsewhere)
        self._alarms = Alarms(runtime, self._tell_alarm)

    def watch(self, connection: Connection) -> None:
        """Tell a connection the last alarms, what happens from now on, and `stats` every second."""
        if connection.connection_id not in self._watchers and self._alarms.recent:
            connection.send(Broadcast("server_error", list(map(encode, self._alarms.recent))))
        self._watchers[connection.connection_id] = connection
        self._begin()

    def _begin(self) -> None:
        """Somebody watches, here or on another node."""
        if not self._is_telling and not self._is_closed:
            self._is_telling = True
            self._tally = Tally()
            self._runtime.spawn(self._tell_stats)

    def leave(self, connection_id: str) -> None:
        self._watchers.pop(connection_id, None)

    def close(self) -> None:
        self._is_closed = True
        self._alarms.close()
        self._watchers.clear()

    def delivered(self, batch: Batch, outcome: Committed, fresh: Sequence[Message]) -> None:
        """Hear of a committed batch; `fresh` are its messages without the duplicates."""
        self.activity.count(fresh, batch.at)
        if not self._is_watched():
            return
        claimed = [
            (claim, recorded)
            for claim, recorded in zip(batch.claims, outcome.claimed, strict=True)
            if recorded
        ]
        self._time(batch, len(fresh), sum(recorded for _, recorded in claimed))
        consumed = [
            ("new_consumption", _consumption(claim, recorded, batch.at))
            for claim, recorded in claimed
        ]
        self._onlookers.tell(consumed)
        self._tell_some(consumed, fresh)

    def heard(self, messages: Sequence[Message], at: float) -> None:
        """Hear of what another node published and this one has delivered."""
        self.activity.count(messages, at)
        if self._watchers:
            self._tell_some((), messages)

    def joined(self, consumer: str, topics: Iterable[str], at: float) -> None:
        """Hear of new subscriptions."""
        self._tell_clients("new_client", consumer, topics, {"connected_at": at})

    def left(self, consumer: str, topics: Iterable[str], at: float) -> None:
        """Hear of subscriptions that ended."""
        self._tell_clients("client_disconnected", consumer, topics, {"timestamp": at})

    def _tell_clients(
        self, event: str, consumer: str, topics: Iterable[str], more: Mapping[str, Any]
    ) -> None:
        if self._is_watched():
            told = [(event, {"consumer": consumer, "topic": topic, **more}) for topic in topics]
            self._onlookers.tell(told)
            self._tell_some(told)

    def _told_elsewhere(self, events: Sequence[tuple[str, Any]]) -> None:
        """Hear of what another node tells dashboards."""
        self._tell_some([(event, value) for event, value in events if event in TOLD_ELSEWHERE])

    def _is_watched(self) -> bool:
        return bool(self._watchers) or self._onlookers.are_there

    def _time(self, batch: Batch, published: int, consumed: int) -> None:
        tally, now = self._tally, self._clock.now()
        tally.consumed += consumed
        tally.published += published
        waits = [now - at for at in batch.arrived_at[:published]]
        if waits:
            tally.latency += sum(waits)
            tally.latency_max = max(tally.latency_max, *waits)

    def _tell_some(
        self, events: Sequence[tuple[str, Any]], messages: Sequence[Message] = ()
    ) -> None:
        """Send as many messages and events as the budget allows, evenly from all of them."""
        if not self._watchers:
            return
        total = len(messages) + len(events)
        number = self._budget.take(total, self._clock.now())
        self._tally.dropped += total - number

        def one(place: int) -> tuple[str, Any]:
            if place < len(messages):
                return "new_message", messages[place]
            return events[place - len(messages)]

        some = [one(index * total // number) for index in range(number)]
        for event, alike in groupby(some, key=itemgetter(0)):
            is_message = event == "new_message"
            self._send(event, *(_shown(value) if is_message else value for _, value in alike))

    def _tell_alarm(self, alarm: Alarm) -> None:
        if not self._watchers:
            return
        if self._alarm_budget.take(1, self._clock.now()):
            self._send("server_error", alarm)
        else:
            self._tally.dropped += 1

    def _send(self, event: str, *values: object) -> None:
        broadcast = Broadcast(event, list(map(encode, values)))
        for connection in list(self._watchers.values()):
            connection.send(broadcast)

    def _tell_stats(self) -> None:
        """Tell them every second, as long as somebody watches, here or on another node."""
        before, delivered = self._clock.now(), self._hub.deliveries
        try:
            while not self._is_closed and self._is_watched():
                if self._watchers:
                    self._onlookers.watch()
                self._runtime.sleep(self._stats_seconds)
                if self._watchers:
                    self._count_topics()
                now, deliveries = self._clock.now(), self._hub.deliveries
                tally, self._tally = self._tally, Tally()
                stats = self._stats(tally, deliveries - delivered, now, now - before)
                self._onlookers.tell_stats(stats)
                if self._watchers:
                    self._send("stats", self._onlookers.together(stats))
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
