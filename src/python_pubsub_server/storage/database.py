"""What a database can do, and how one is opened by its URL.

A database has one `Writer`, used by one native thread, and any number of `Reader`s, each used by
one native thread at a time. Nothing here may run on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ..errors import ConfigurationError
from ..model import (
    Claim,
    Consumption,
    Draft,
    Edge,
    Explanation,
    Interest,
    Ledger,
    Message,
    Page,
    Published,
    Resent,
    SpanEnd,
    SpanStart,
    TopicPosition,
    TopicSummary,
)

T = TypeVar("T")


class WriteFailed(Exception):
    """The database could not commit; nothing of the batch is stored. The text says why."""


class ReadFailed(Exception):
    """The database could not be read. The text says why."""


class Here(msgspec.Struct, frozen=True):
    """A node, and the last position of the log that it has delivered."""

    node_id: str
    delivered: int


class Retention(msgspec.Struct, frozen=True):
    """How much of the log is kept: messages of each topic, and their age (None: any)."""

    messages: int
    seconds: float | None


class Batch(msgspec.Struct, frozen=True):
    """What one transaction commits: interests first, then drafts, claims and deliveries.

    `arrived_at` holds one time a draft, in the same order; `at` is the time of the rest.
    `here` says who commits, and what that node has delivered by now.
    """

    at: float
    interests: Sequence[Interest] = ()
    drafts: Sequence[Draft] = ()
    arrived_at: Sequence[float] = ()
    claims: Sequence[Claim] = ()
    deliveries: Sequence[SpanStart | SpanEnd | Resent] = ()
    here: Here | None = None


class Committed(msgspec.Struct, frozen=True):
    """What a batch became.

    `published` has one entry a draft, in order. `claimed` has one entry a claim, in order: how
    many consumptions it newly recorded (0: all were recorded before), or None when no retained
    message of that topic has that id (and sequence). `position` is the log's last one after it.
    """

    published: Sequence[Published]
    claimed: Sequence[int | None]
    position: int = 0


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

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        """Delete about `limit` of the messages that need not be kept; how many went (0: none left).

        Always the oldest ones of a topic, with their consumptions; sequences go on.
        """

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

    def topic_count(self) -> int: ...

    def snapshot(self, read: Callable[[Reader], T]) -> T:
        """Several reads of one state of the log."""

    def last_position(self) -> int:
        """The position of the newest message that the log ever had."""

    def log(self, topic: str, after: int, limit: int, max_bytes: int) -> Page:
        """A topic's messages after a sequence: one at least, then as many as the bounds allow."""

    def unconsumed(
        self, consumer: str, topic: str, after: int, last: int, limit: int, max_bytes: int
    ) -> Page:
        """What a consumer wants of a topic and has not consumed, from `after` to `last`."""

    def count_unconsumed(self, consumer: str, topic: str, limit: int) -> int:
        """How many messages of a topic a consumer has not consumed; counts to `limit`."""

    def ledger(self, topic: str, sequence: int, here: Here) -> Ledger | None:
        """Who was sent a message and who consumed it; None: the log does not have it."""

    def explain(self, topic: str, sequence: int, consumer: str, here: Here) -> Explanation:
        """Why a consumer did or did not get the message at a sequence."""

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
