"""The nodes of a log: this one, those beside it, and what all of them together are subscribed to.

Each node shows a card on the bus every two seconds, and soon after a change; a card that is not
renewed is gone after some seconds, and its node with it.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Protocol

import msgspec
import psutil

from . import logs
from .bus.bus import Bus, BusFailed, Card
from .cards import NodeFacts, Seen, Shown, read_cards
from .elsewhere import Elsewhere, Listening, Seat
from .hub import Hub, Subscription
from .runtime import Runtime

BEAT_SECONDS = 2.0
CURRENT_SECONDS = 5.0
PAUSE_SECONDS = 0.25  # between two beats, however much changes
FORGET_SECONDS = 8.0  # without the bus
EXCHANGE_SECONDS = 10.0
MAX_SHOWN = 10_000  # subscriptions of a node that the others see
UP, DRAINING = "up", "draining"


class ClusterStatus(msgspec.Struct, frozen=True):
    """The event `cluster_status_response`: sums over the nodes."""

    status: str
    nodes_total: int
    nodes_up: int
    connections: int
    subscriptions: int
    topics: int
    messages_per_second: float
    deliveries_per_second: float


class Measured(msgspec.Struct, frozen=True):
    """What a node counts of itself; messages since its start."""

    connections: int
    messages: int
    is_draining: bool


class Company(Protocol):
    """Those in the rooms, here and elsewhere."""

    changes: int
    on_change: Callable[[], None]

    def seats(self) -> Mapping[str, Sequence[Seat]]: ...

    def seen(self, of_nodes: Mapping[str, Mapping[str, Sequence[Seat]]]) -> None: ...

    def unseen(self) -> None: ...


class Cluster:
    """Belongs to the event loop, apart from what its one native thread runs."""

    def __init__(
        self,
        node_id: str,
        log_id: str,
        runtime: Runtime,
        bus: Bus,
        hub: Hub,
        measure: Callable[[], Measured],
        now: Callable[[], float],
        place: str,
    ) -> None:
        self._node_id = node_id
        self._place = place
        self._runtime = runtime
        self._bus = bus
        self._hub = hub
        self._measure = measure
        self._now = now
        self._started_at = now()
        self._channel = f"pubsub:{log_id}:changed"
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer says nothing
        self._cpu_percent = self._memory_mb = 0.0
        self._rates = (0.0, 0.0)
        self._counted = (0, 0, time.monotonic())
        self._others: Mapping[str, Seen] = {}
        self._exchanged_at = -math.inf
        self.elsewhere = Elsewhere()
        self._company: Company | None = None
        self._shown_version = ""
        self._shown = b""
        self._stopped = runtime.event()
        self._woken = runtime.event()
        self._threads = runtime.native_threads(1, "cluster")
        if bus.is_shared:
            bus.on_channel(self._channel, self._heard)
            hub.on_change = self._wake
        self._task = runtime.spawn(self._run)

    def show(self, company: Company) -> None:
        """Let the nodes see of each other who is in their rooms, too."""
        if self._bus.is_shared:
            self._company = company
            company.on_change = self._wake

    def nodes(self) -> list[NodeFacts]:
        """Every node that is there, this one included, the oldest first."""
        others = [seen.facts for seen in self._others.values()]
        return sorted([self.own_facts(), *others], key=attrgetter("started_at", "node_id"))

    @property
    def is_current(self) -> bool:
        """Whether what is known of others is of now: not of nothing, as at the start of this node,
        and not of before it stood still.
        """
        return not self._bus.is_shared or time.monotonic() - self._exchanged_at <= CURRENT_SECONDS

    def places(self) -> dict[str, str]:
        """Where each node runs: two that are there at a time are never at the same place."""
        others = {node: seen.shown.place or seen.facts.host for node, seen in self._others.items()}
        return {self._node_id: self._place, **others}

    def status(self, topics: int) -> ClusterStatus:
        """All nodes together. It is `degraded` while this one cannot see the others."""
        nodes = self.nodes()
        return ClusterStatus(
            status="healthy" if self._bus.failure is None else "degraded",
            nodes_total=len(nodes),
            nodes_up=sum(node.status == UP for node in nodes),
            connections=sum(node.connections for node in nodes),
            subscriptions=sum(node.subscriptions for node in nodes),
            topics=topics,
            messages_per_second=round(sum(node.messages_per_second for node in nodes), 2),
            deliveries_per_second=round(sum(node.deliveries_per_second for node in nodes), 2),
        )

    def subscriptions(self) -> list[Subscription | Listening]:
        """The live subscriptions of all nodes, newest first."""
        found: list[Subscription | Listening] = [*self._hub.subscriptions()]
        elsewhere = list(self.elsewhere.subscriptions())
        if elsewhere:
            found += elsewhere
            found.sort(key=attrgetter("connected_at"), reverse=True)
        return found

    def count(self, topic: str) -> int:
        """How many connections of all nodes are subscribed to a topic."""
        return self._hub.count(topic) + self.elsewhere.count(topic)

    def close(self, timeout: float) -> None:
        """Be gone for the others at once, if the bus still works."""
        self._stopped.set()
        self._woken.set()
        if not self._task.wait(timeout):
            self._task.kill()
        if self._bus.is_shared and self._bus.failure is None:
            self._threads.submit(self._bus.withdraw, self._node_id, then=_gone)
            self._bus.publish(self._channel, self._node_id.encode())
        self._threads.close(timeout)

    def _wake(self) -> None:
        if not self._woken.is_set():
            self._woken.set()

    def _heard(self, channel: str, payload: bytes) -> None:
        if payload != self._node_id.encode():
            self._wake()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._beat()
            except (BusFailed, TimeoutError):  # the bus has told why
                self._forget_old()
            except Exception as error:  # noqa: BLE001 - a defect: told by the log, tried again
                logs.event(logging.ERROR, "cluster_failed", exception=error)
            if not self._stopped.wait(PAUSE_SECONDS):
                self._woken.wait(BEAT_SECONDS)
                self._woken.clear()

    def _beat(self) -> None:
        self._count_rates()
        if not self._bus.is_shared:
            self._threads.run(self._sample, timeout=EXCHANGE_SECONDS)
            return
        version = f"{self._hub.changes}.{self._company.changes if self._company else 0}"
        is_changed = version != self._shown_version
        shown = self._snapshot() if is_changed else None
        began = time.monotonic()  # the answer may be of then: this node can stand still meanwhile
        others = self._threads.run(
            self._exchange, self.own_facts(), version, shown, timeout=EXCHANGE_SECONDS
        )
        self._shown_version = version
        self._exchanged_at = began
        self._see(others)
        if is_changed:
            self._bus.publish(self._channel, self._node_id.encode())

    def _see(self, others: Mapping[str, Seen]) -> None:
        self._others = others
        self.elsewhere.replace({node: seen.shown.listening for node, seen in others.items()})
        if self._company is not None:
            self._company.seen({node: seen.shown.rooms for node, seen in others.items()})

    def _snapshot(self) -> Shown:
        subscribers = self._hub.subscribed()
        listening = (
            Listening(
                subscriber.connection.connection_id,
                one.consumer,
                one.topic,
                one.connected_at,
                subscriber.is_named,
            )
            for subscriber in subscribers
            for one in subscriber.subscriptions.values()
        )
        rooms = self._company.seats() if self._company is not None else {}
        return Shown(list(islice(listening, MAX_SHOWN)), rooms, self._place)

    def _exchange(self, facts: NodeFacts, version: str, shown: Shown | None) -> Mapping[str, Seen]:
        """In the native thread: what the other nodes show."""
        self._sample()
        if shown is not None:
            self._shown = msgspec.json.encode(shown)
        card = Card(self._node_id, msgspec.json.encode(facts), version, self._shown)
        return read_cards(self._bus.exchange(card), self._others)

    def _sample(self) -> None:
        """In the native thread: what the system says of this process."""
        self._cpu_percent = self._process.cpu_percent()
        self._memory_mb = self._process.memory_info().rss / 2**20

    def _count_rates(self) -> None:
        messages, deliveries, at = self._counted
        now = (self._measure().messages, self._hub.deliveries, time.monotonic())
        seconds = max(now[2] - at, 0.001)
        if seconds >= 1.0:
            self._rates = ((now[0] - messages) / seconds, (now[1] - deliveries) / seconds)
            self._counted = now

    def own_facts(self) -> NodeFacts:
        """This node, as it is now."""
        measured = self._measure()
        return NodeFacts(
            node_id=self._node_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            status=DRAINING if measured.is_draining else UP,
            started_at=self._started_at,
            last_seen=self._now(),
            connections=measured.connections,
            subscriptions=self._hub.subscription_count(),
            messages_per_second=round(self._rates[0], 2),
            deliveries_per_second=round(self._rates[1], 2),
            cpu_percent=round(self._cpu_percent, 1),
            memory_mb=round(self._memory_mb, 1),
        )

    def _forget_old(self) -> None:
        """Without the bus, the others are believed to be there for as long as a card lasts."""
        if self._others and time.monotonic() - self._exchanged_at > FORGET_SECONDS:
            self._others = {}
            self.elsewhere.replace({})
            if self._company is not None:
                self._company.unseen()


def _gone(_result: object, error: BaseException | None) -> None:
    if error is not None:
        logs.event(logging.INFO, "not_withdrawn", reason=str(error))
