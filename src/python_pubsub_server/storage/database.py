"""What a database can do, and how one is opened by its URL.

A database has one `Writer`, used by one native thread, and any number of `Reader`s, each used by
one native thread at a time. Nothing here may run on the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ..errors import ConfigurationError
from ..model import (
    Claim,
    Consumption,
    Draft,
    Edge,
    Interest,
    Message,
    Published,
    TopicPosition,
    TopicSummary,
)


class WriteFailed(Exception):
    """The database could not commit; nothing of the batch is stored. The text says why."""


class ReadFailed(Exception):
    """The database could not be read. The text says why."""


class Batch(msgspec.Struct, frozen=True):
    """What one transaction commits: interests first, then drafts, then claims.

    `arrived_at` holds one time a draft, in the same order; `at` is the time of the rest.
    """

    at: float
    interests: Sequence[Interest] = ()
    drafts: Sequence[Draft] = ()
    arrived_at: Sequence[float] = ()
    claims: Sequence[Claim] = ()


class Committed(msgspec.Struct, frozen=True):
    """What a batch became.

    `published` has one entry a draft, in order. `claimed` has one entry a claim, in order: how
    many consumptions it newly recorded (0: all were recorded before), or None when no retained
    message of that topic has that id (and sequence).
    """

    published: Sequence[Published]
    claimed: Sequence[int | None]


class Writer(Protocol):
    def commit(self, batch: Batch) -> Committed:
        """Store a batch in one transaction, all of it or nothing.

        Sequences follow the order of the drafts, per topic, without gaps. A draft whose topic,
        producer, message id and content were stored inside the deduplication window (earlier in
        this same batch included) is not stored again.

        Raises WriteFailed. After it the writer can be used again, as soon as the cause is gone.
        """

    def index(self, limit: int) -> int:
        """Bring full-text search up to date by at most `limit` messages; how many were indexed."""

    def close(self) -> None: ...


class Reader(Protocol):
    def ping(self) -> None:
        """Read something, or raise."""

    def last_timestamp(self) -> float:
        """The timestamp of the newest message of the log, 0.0 in an empty one."""

    def position(self, topic: str) -> TopicPosition:
        """Where a topic stands; a topic that does not exist stands at sequence 0, first 1."""

    def positions(self, pattern: str) -> list[TopicPosition]:
        """Where every topic stands that a pattern (or an exact topic) covers, by name."""

    def topics(self) -> list[TopicSummary]:
        """Every topic, by name."""

    def log(self, topic: str, after: int, limit: int) -> list[Message]:
        """A topic's messages after a sequence, oldest first."""

    def messages(
        self,
        limit: int,
        topic: str | None = None,
        producer: str | None = None,
        text: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Message]]:
        """The newest messages with their positions, newest first, below position `before`."""

    def consumptions(
        self,
        limit: int,
        topic: str | None = None,
        consumer: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Consumption]]:
        """The newest consumptions with their positions, newest first, below position `before`."""

    def publish_edges(self, limit: int) -> list[Edge]:
        """Who published on what, most recent first."""

    def consume_edges(self, limit: int) -> list[Edge]:
        """Who consumed what, most recent first."""

    def close(self) -> None: ...


class Database(Protocol):
    """An open, migrated database. `epoch` is the identity of its log."""

    epoch: str

    def writer(self) -> Writer: ...

    def reader(self) -> Reader: ...


def open_database(
    url: str, *, durability: str = "full", deduplication_seconds: float = 120.0
) -> Database:
    """Open and migrate the database at a URL (`sqlite:///FILE`; four slashes: an absolute path).

    Raises ConfigurationError for a URL of another kind, DatabaseError when the database is not
    writable, corrupt, newer than this code or changed by hand; then nothing was touched.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from .sqlite import SQLiteDatabase

        return SQLiteDatabase.open(
            Path(rest.removeprefix("/")),
            durability=durability,
            deduplication_seconds=deduplication_seconds,
        )
    raise ConfigurationError(
        f"PUBSUB_DATABASE_URL: no database of the kind {scheme!r}; write sqlite:///pubsub.db"
    )
