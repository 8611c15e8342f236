"""One server process: builds the parts, owns them, and stops them in order."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import __version__, logs
from .alerts import Thresholds
from .auth import Gate
from .broker import Announcer, Broker
from .bulletin import Bulletin
from .bus.bus import open_bus
from .clock import LogClock
from .cluster import Cluster, Measured
from .config import Settings
from .deliveries import Deliveries
from .errors import ConfigurationError, DatabaseError, RequestError
from .feed import MAX_PART_BYTES, Feed
from .graph import Graph
from .health import Health, checked, status_of
from .history import History
from .hub import Hub
from .ingress import Ingress
from .journal import Journal
from .limits import Limits, NewTopics
from .metrics import Metrics
from .model import Message
from .monitoring import Monitoring
from .notifications import Notifications
from .passing import Passing
from .presence import Presence
from .rates import Rates
from .resources import Resources
from .rooms import Rooms
from .runtime import Runtime
from .sessions import Sessions
from .standing import Standing, Watch
from .storage.database import Batch, Committed, Database, Retention, open_database
from .storage.readers import Readers
from .subscribing import Subscribing
from .transport.connection import Connection
from .transport.sse import EventStreams
from .upkeep import Upkeep
from .vitals import Counted, Lag, System, Vitals
from .votes import Votes
from .watching import Watching

if TYPE_CHECKING:
    from .access import Access


class Client(msgspec.Struct, frozen=True):
    """Who is connected, since when, and by which door.

    `door` is `socket.io`, `events`, or the path of a plain WebSocket.
    """

    connection: Connection
    connected_at: float
    door: str


# How long a message of another node may take when its announcement was lost, and when no
# announcement can come.
LOOK_SECONDS = 0.9
LOOK_OFTEN_SECONDS = 0.25
NOTE_SECONDS = 1.0  # how late the other nodes' ledgers know of a delivery


class Node:
    """A server process without its doors: everything that `pubsub_ws` puts behind them.

    `worker` is its number among those that share its port. Raises StartError when the database
    cannot be opened.
    """

    def __init__(self, settings: Settings, runtime: Runtime, worker: int = 0) -> None:
        database = open_database(
            settings.database_url,
            durability=settings.durability,
            deduplication_seconds=settings.deduplication_seconds,
        )
        self.settings = settings
        self.runtime = runtime
        self.node_id = uuid.uuid4().hex[:12]
        self.version = __version__
        self.epoch = database.epoch
        self.access = open_access(settings)
        self.sessions = Sessions(self.access, runtime, time.time)
        self._watch = None if self.access is None else self._watch_users(database)
        self.gate = Gate(
            allow_anonymous=settings.allow_anonymous,
            cors_origins=settings.cors_origins,
            trusted_proxies=settings.trusted_proxies,
            tokens=self.access,
        )
        self.readers = Readers(database, runtime)
        try:
            last_timestamp, last_position = self.readers.read(
                lambda reader: (reader.last_timestamp(), reader.last_position())
            )
        except RequestError as error:
            raise DatabaseError(f"{error.message}; restore it from a backup") from error
        self.clock = LogClock(not_before=last_timestamp)
        self.started_at = self.clock.now()
        self.is_draining = False
        self._is_to_note = False
        self.connections: dict[str, Client] = {}
        self.hub = Hub()
        self.rates = Rates()
        self.feed = Feed(
            self.hub,
            self.readers,
            runtime,
            last_position,
            part_bytes=min(MAX_PART_BYTES, settings.outbound_bytes // 8),
        )
        self.bus = open_bus(
            settings.redis_url, log_id=self.epoch, node_id=self.node_id, runtime=runtime
        )
        self.bulletin = Bulletin(self.bus, self.hub)
        self.metrics = Metrics()
        announcer = Announcer(self.feed, self.rates, self.metrics)
        if self.bus.is_shared:
            announcer.announce = self.bus.announce
        self.deliveries = Deliveries(self.node_id, self.clock, lambda: self.feed.delivered)
        self.journal = Journal(
            database.writer(),
            runtime,
            self.clock,
            announcer,
            self.deliveries.here,
            metrics=self.metrics,
        )
        self.deliveries.write_to(self.journal)
        self.limits = self._open_limits()
        self.broker = Broker(self.journal, self.hub, self.readers, self.clock, self.limits)
        self.subscribing = Subscribing(
            self.broker,
            self.feed,
            self.deliveries,
            self.epoch,
            replay_limit=settings.replay_limit,
            page_bytes=min(2**20, settings.outbound_bytes // 4),
        )
        self.history = History(self.readers, self.hub, runtime, self.deliveries, self.epoch)
        self.cluster = Cluster(
            self.node_id,
            self.epoch,
            runtime,
            self.bus,
            self.hub,
            lambda: Measured(len(self.connections), announcer.published, self.is_draining),
            self.clock.now,
            place=f"{socket.gethostname()} {settings.host}:{settings.port} {worker}",
        )
        self.watching = self._open_watching(announcer)
        self.graph = Graph(self.readers, self.cluster, self.rates)
        self.presence = Presence(self.hub, self.clock.now, self.cluster.elsewhere.names)
        self.streams = EventStreams(
            runtime,
            self.epoch,
            outbound_bytes=settings.outbound_bytes,
            on_slow=self.closed_as_slow,
        )
        self._open_features()
        self.upkeep = Upkeep(
            self.journal,
            runtime,
            self.clock,
            Retention(settings.retention_messages, settings.retention_seconds),
            on_round=self.deliveries.keep_noted,
        )
        self.monitoring = Monitoring(
            runtime, self.clock, self.hub, Census(self), self.bus, self.epoch, self.node_id
        )
        announcer.on_commit = self.upkeep.wake
        announcer.on_delivered = self._delivered
        self.feed.on_heard = lambda messages: self._heard(announcer, messages)
        self.subscribing.on_limit = self.metrics.limited
        self.subscribing.on_join = self.monitoring.joined
        self.subscribing.on_leave = self.monitoring.left

    def _open_limits(self) -> Limits:
        settings = self.settings
        limits = Limits(self.metrics)
        if settings.topics_per_publisher is not None:
            limits.topics = NewTopics(settings.topics_per_publisher, self._exists, self.runtime)
        if settings.rate_publish is not None or settings.rate_connect is not None:
            from .quota import Quota, Shared

            if settings.rate_publish is not None:
                limits.publishing = Quota(settings.rate_publish, "messages", time.time)
            if settings.rate_connect is not None:
                limits.connecting = Quota(settings.rate_connect, "connections", time.time)
            if settings.redis_url is not None:
                quotas = {"publish": limits.publishing, "connect": limits.connecting}
                limits.shared = Shared(settings.redis_url, self.epoch, self.runtime, quotas)
        return limits

    def _open_rooms(self) -> Rooms:
        rooms = Rooms(
            self.runtime,
            self.clock.now,
            self.broker,
            self.subscribing,
            self.history,
            heartbeat_seconds=self.settings.chat_heartbeat_seconds,
            offline_seconds=self.settings.chat_offline_seconds,
        )
        rooms.company.meet(self.bus, self.epoch, self.node_id)
        self.cluster.show(rooms.company)
        return rooms

    def _exists(self, topic: str) -> bool:
        return self.readers.read(lambda reader: reader.position(topic)).sequence > 0

    def _open_watching(self, announcer: Announcer) -> Watching:
        def count() -> Counted:
            return Counted(
                connections=len(self.connections),
                subscriptions=self.hub.subscription_count(),
                waiting=self.journal.waiting_items,
                messages=announcer.published,
                deliveries=self.hub.deliveries,
            )

        settings = self.settings
        system = System(self.runtime, disk_of(settings.database_url))
        return Watching(
            node_id=self.node_id,
            version=self.version,
            runtime=self.runtime,
            clock=self.clock,
            bus=self.bus,
            bulletin=self.bulletin,
            cluster=self.cluster,
            readers=self.readers,
            journal=self.journal,
            vitals=Vitals(system, Lag(self.runtime), self.metrics, count),
            thresholds=Thresholds(
                loop_lag_ms=settings.alert_loop_lag_ms,
                disk_percent=settings.alert_disk_percent,
                silent=settings.alert_silent_topics,
                lag_messages=settings.alert_lag_messages,
            ),
            check=self.health,
        )

    def _watch_users(self, database: Database) -> Watch:
        def change(standing: Standing) -> None:
            if self.access is not None:
                self.access.standing = standing
                self.sessions.recheck()

        return Watch(
            database.registry(),
            self.runtime,
            time.time,
            known_only=self.settings.require_known_users,
            changed=change,
        )

    def start(self) -> None:
        """Join the other nodes. What hears of channels has said so by now."""
        ingress = Ingress(self.broker, self.settings.max_message_bytes)
        self.bus.on_entry(ingress.take)
        self.bus.start(self.feed.heard, self._bus_changed)
        if self.bus.is_shared:
            self._bus_changed()

    def _bus_changed(self) -> None:
        """Look into the log, where everything is that the bus may have lost."""
        if self.bus.failure is not None:
            self.feed.poll(LOOK_OFTEN_SECONDS)
            return
        self.feed.poll(LOOK_SECONDS)
        if self.feed.delivered:
            self.bus.announce(self.feed.delivered, self.feed.delivered, None)

    def closed_as_slow(self, connection_id: str) -> None:
        """Note that a connection is about to be closed because it does not read."""
        self.metrics.closed_as_slow()
        self.metrics.limited("outbound_bytes")
        logs.event(logging.WARNING, "closed_as_slow", connection=connection_id)

    def _open_features(self) -> None:
        self.rooms = self._open_rooms()
        self.notifications = Notifications(
            self.broker, self.subscribing, self.bus, self.epoch, self._is_known
        )
        self.votes = Votes(self.broker)
        self.resources = Resources(self.broker)
        self.passing = Passing(self.bus, self.hub)

    def _is_known(self, user: str) -> bool:
        """Whether there is such a user, as far as that is known."""
        known = None if self.access is None else self.access.standing.known
        return known is None or user in known

    def _note(self) -> None:
        self._is_to_note = False
        self.deliveries.note()

    def _delivered(self, batch: Batch, outcome: Committed, fresh: Sequence[Message]) -> None:
        self.monitoring.delivered(batch, outcome, fresh)
        self.bulletin.stored(fresh)
        self.notifications.committed(batch, outcome)

    def _heard(self, announcer: Announcer, messages: Sequence[Message]) -> None:
        now = self.clock.now()
        if not self._is_to_note:
            self._is_to_note = True
            self.runtime.after(NOTE_SECONDS, self._note)
        announcer.heard(messages, now)
        self.monitoring.heard(messages, now)
        self.bulletin.stored(messages)

    def check_database(self) -> str | None:
        """Why the database cannot be used, None when it can."""
        try:
            self.readers.read(lambda reader: reader.ping())
        except RequestError as error:
            return error.message
        return self.journal.recent_failure

    def health(self) -> Health:
        """Everything that is checked, with what is wrong. May wait for the database."""
        database, bus, now = self.check_database(), self.bus.failure, self.clock.now()
        return Health(
            status=status_of(is_draining=self.is_draining, database=database, bus=bus),
            timestamp=now,
            version=self.version,
            node_id=self.node_id,
            uptime_seconds=now - self.started_at,
            websocket_clients=len(self.connections),
            checks={"database": checked(database), "bus": checked(bus)},
        )

    def close(self) -> None:
        """Commit what waits, then give everything back."""
        self.is_draining = True
        self.monitoring.close()
        self.watching.close(self.settings.drain_seconds)
        self.sessions.close()
        self.limits.close(self.settings.drain_seconds)
        if self._watch is not None:
            self._watch.stop(self.settings.drain_seconds)
        self.rooms.close()
        self.upkeep.stop(self.settings.drain_seconds)
        self.journal.close(self.settings.drain_seconds)
        self.cluster.close(self.settings.drain_seconds)
        self.bus.close(self.settings.drain_seconds)
        self.feed.close(self.settings.drain_seconds)
        self.readers.close(self.settings.drain_seconds)
        logs.event(logging.INFO, "stopped", node_id=self.node_id)


def disk_of(database_url: str) -> Path | None:
    """Where a database lies on a disk of this machine."""
    scheme, _, rest = database_url.partition("://")
    return Path(rest.removeprefix("/")).absolute().parent if scheme == "sqlite" else None


def open_access(settings: Settings) -> Access | None:
    """What knows tokens, None where nobody has to say who it is. Raises ConfigurationError."""
    if settings.jwt_secret is None and settings.jwt_public_key is None:
        for name in ("jwt_audience", "jwt_issuer", "require_known_users"):
            if getattr(settings, name):  # who sets it expects a server that asks for tokens
                raise ConfigurationError(
                    f"PUBSUB_{name.upper()} needs PUBSUB_JWT_SECRET or PUBSUB_JWT_PUBLIC_KEY"
                )
        return None
    from .access import Access
    from .tokens import verifier

    return Access(
        verifier(
            settings.jwt_secret,
            settings.jwt_public_key,
            settings.jwt_audience,
            settings.jwt_issuer,
        ),
        time.time,
    )


class Census:
    """The node's numbers that dashboards see."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def connections(self) -> int:
        return len(self._node.connections)

    def topics(self) -> int:
        return self._node.readers.read(lambda reader: reader.topic_count())
