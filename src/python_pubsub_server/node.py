"""One server process: builds the parts, owns them, and stops them in order."""

from __future__ import annotations

import logging
import uuid

from . import __version__, logs
from .auth import Gate
from .broker import Announcer, Broker
from .clock import LogClock
from .config import Settings
from .deliveries import Deliveries
from .errors import DatabaseError, RequestError
from .history import History
from .hub import Hub
from .journal import Journal
from .monitoring import Monitoring
from .rates import Rates
from .runtime import Runtime
from .storage.database import Retention, open_database
from .storage.readers import Readers
from .subscribing import Subscribing
from .transport.connection import Connection
from .upkeep import Upkeep


class Node:
    """A server process without its doors: everything that `pubsub_ws` puts behind them.

    Raises StartError when the database cannot be opened.
    """

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
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
        self.gate = Gate(
            allow_anonymous=settings.allow_anonymous, cors_origins=settings.cors_origins
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
        self.hub = Hub()
        self.rates = Rates()
        announcer = Announcer(self.hub, self.rates)
        announcer.delivered = last_position
        self.deliveries = Deliveries(self.node_id, self.clock, lambda: announcer.delivered)
        self.journal = Journal(
            database.writer(), runtime, self.clock, announcer, self.deliveries.here
        )
        self.deliveries.write_to(self.journal)
        self.broker = Broker(self.journal, self.hub, self.readers, self.clock)
        self.subscribing = Subscribing(
            self.broker,
            self.deliveries,
            self.epoch,
            replay_limit=settings.replay_limit,
            page_bytes=min(2**20, settings.outbound_bytes // 4),
        )
        self.history = History(self.readers, self.hub, runtime, self.deliveries, self.epoch)
        self.upkeep = Upkeep(
            self.journal,
            runtime,
            self.clock,
            Retention(settings.retention_messages, settings.retention_seconds),
        )
        self.connections: dict[str, Connection] = {}
        self.monitoring = Monitoring(runtime, self.clock, self.hub, Census(self))
        announcer.on_commit = self.upkeep.wake
        announcer.on_delivered = self.monitoring.delivered
        self.subscribing.on_join = self.monitoring.joined
        self.subscribing.on_leave = self.monitoring.left
        self.is_draining = False

    def check_database(self) -> str | None:
        """Why the database cannot be used, None when it can."""
        try:
            self.readers.read(lambda reader: reader.ping())
        except RequestError as error:
            return error.message
        return self.journal.recent_failure

    def close(self) -> None:
        """Commit what waits, then give everything back."""
        self.is_draining = True
        self.monitoring.close()
        self.upkeep.stop(self.settings.drain_seconds)
        self.journal.close(self.settings.drain_seconds)
        self.readers.close(self.settings.drain_seconds)
        logs.event(logging.INFO, "stopped", node_id=self.node_id)


class Census:
    """The node's numbers that dashboards see."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def connections(self) -> int:
        return len(self._node.connections)

    def topics(self) -> int:
        return self._node.readers.read(lambda reader: reader.topic_count())
