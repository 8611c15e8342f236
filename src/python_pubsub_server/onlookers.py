"""What the dashboards of one node see of the others: their events, and sums of their rates.

A node whose dashboards watch says so every second; the others tell it then, on a channel of the
bus, what they would tell dashboards of their own. While nobody watches, nothing is said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from . import logs
from .bus.bus import Bus
from .wire import encode

ATTENTION_SECONDS = 3.5  # how long a node that said that it watches is taken to do so
# One node tells the others at most so many events.
EVENTS_PER_SECOND = 50.0
BURST = 25


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


class Budget:
    """How many events may be told now: a bucket that fills again as time passes.

    Where more is wanted than there is, it gives nothing before it can give `lump` at once.
    """

    __slots__ = ("_burst", "_filled_at", "_lump", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: int, lump: int = 1) -> None:
        self._per_second = per_second
        self._lump = lump
        self._burst = self._tokens = float(burst)
        self._filled_at = 0.0

    def take(self, wanted: int, now: float) -> int:
        """How many of those wanted may be told."""
        fresh = max(0.0, now - self._filled_at) * self._per_second
        self._tokens = min(self._burst, self._tokens + fresh)
        self._filled_at = now
        if self._tokens < min(wanted, self._lump):
            return 0
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a node says to the others; without anything else, that it watches."""

    node_id: str
    events: Sequence[tuple[str, Raw]] = ()
    stats: Stats | None = None


class Onlookers:
    """Belongs to the event loop; to be made before the bus is started.

    `wanted` is called when another node begins to watch, `hear` gets the events of the others.
    """

    def __init__(
        self,
        bus: Bus,
        log_id: str,
        node_id: str,
        wanted: Callable[[], None],
        hear: Callable[[Sequence[tuple[str, Any]]], None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._channel = f"pubsub:{log_id}:monitoring"
        self._node_id = node_id
        self._wanted = wanted
        self._hear = hear
        self._steady = steady
        self._wanted_until = 0.0
        self._budget = Budget(EVENTS_PER_SECOND, BURST)
        self._untold = 0  # events, since the last stats
        self._dropped = 0  # by others, since the last sum
        self._others: dict[str, tuple[float, Stats]] = {}
        if bus.is_shared:
            bus.on_channel(self._channel, self._heard)

    @property
    def are_there(self) -> bool:
        """Whether dashboards of other nodes watch."""
        return self._steady() < self._wanted_until

    def watch(self) -> None:
        """Ask the others to tell. To be said every second."""
        if self._bus.is_shared:
            self._say(Told(self._node_id))

    def tell(self, events: Sequence[tuple[str, Any]]) -> None:
        """Tell the others what happened here, or as much of it as may be."""
        if not events or not self.are_there:
            return
        number = self._budget.take(len(events), self._steady())
        self._untold += len(events) - number
        some = (events[index * len(events) // number] for index in range(number))
        told = [(event, Raw(encode(value))) for event, value in some]
        if told:
            self._say(Told(self._node_id, told))

    def tell_stats(self, stats: Stats) -> None:
        untold, self._untold = self._untold, 0
        if self.are_there:
            told = msgspec.structs.replace(stats, dropped=untold)
            self._say(Told(self._node_id, (), told))

    def together(self, own: Stats) -> Stats:
        """This node's numbers and the last ones of each other node, as if they were one."""
        now = self._steady()
        self._others = {
            node: told for node, told in self._others.items() if now - told[0] < ATTENTION_SECONDS
        }
        dropped, self._dropped = self._dropped, 0
        every = [own, *(stats for _, stats in self._others.values())]
        timed = [each for each in every if each.commit_ms is not None]
        published = sum(each.publishes_per_second for each in timed)
        weighted = sum((each.commit_ms or 0.0) * each.publishes_per_second for each in timed)
        return Stats(
            timestamp=own.timestamp,
            publishes_per_second=round(sum(each.publishes_per_second for each in every), 2),
            deliveries_per_second=round(sum(each.deliveries_per_second for each in every), 2),
            consumptions_per_second=round(sum(each.consumptions_per_second for each in every), 2),
            connections=sum(each.connections for each in every),
            subscriptions=sum(each.subscriptions for each in every),
            topics=own.topics,
            commit_ms=round(weighted / published, 3) if published else own.commit_ms,
            commit_ms_max=max((each.commit_ms_max or 0.0 for each in timed), default=None),
            dropped=own.dropped + dropped,
        )

    def _say(self, told: Told) -> None:
        self._bus.publish(self._channel, msgspec.json.encode(told))

    def _heard(self, channel: str, payload: bytes) -> None:
        try:
            told = msgspec.json.decode(payload, type=Told)
        except msgspec.MsgspecError as error:
            logs.event(logging.WARNING, "monitoring_not_understood", reason=str(error))
            return
        if told.node_id == self._node_id:
            return
        if told.stats is not None:
            self._others[told.node_id] = (self._steady(), told.stats)
            self._dropped += told.stats.dropped
        elif told.events:
            self._hear(told.events)
        else:
            self._wanted_until = self._steady() + ATTENTION_SECONDS
            self._wanted()
