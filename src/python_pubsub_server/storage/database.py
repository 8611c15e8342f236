"""What a database can do, and how one is opened by its URL.

A database has one `Writer`, used by one native thread, and any number of `Reader`s, each used by
one native thread at a time. Nothing here may run on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ..errors import ConfigurationError, DatabaseError
from ..model import (
    Claim,
    Consumption,
    Draft,
    Edge,
    Explanation,
    Interest,
    Ledger,
    Loss,
    Message,
    NodeMinute,
    Page,
    Published,
    Resent,
    SpanEnd,
    SpanStart,
    Stretch,
    Tally,
    TopicPosition,
    TopicSummary,
    Vote,
)
from .archive import Source, Target
from .registry import Registry

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
    """What one transaction commits: interests first, then drafts, votes, claims and deliveries.

    Each vote that changes something is told by one message on `suggestions:votes`, whose content is
    the tally after it.

    A `Loss` says that a consumer is told of it. It is known to have heard it when it then confirms
    a message of that topic, in a later transaction.

    `arrived_at` holds one time a draft, in the same order; `at` is the time of the rest.
    `here` says who commits, and what that node has delivered by now.
    """

    at: float
    interests: Sequence[Interest] = ()
    drafts: Sequence[Draft] = ()
    arrived_at: Sequence[float] = ()
    claims: Sequence[Claim] = ()
    deliveries: Sequence[SpanStart | SpanEnd | Resent | Loss] = ()
    here: Here | None = None
    votes: Sequence[Vote] = ()


class Committed(msgspec.Struct, frozen=True):
    """What a batch became.

    `published` has one entry a draft, in order, and then one for each message that tells of a vote.
    `voted` has one tally a vote, in order. `claimed` has one entry a claim, in order: how
    many consumptions it newly recorded (0: all were recorded before), or None when no retained
    message of that topic has that id (and sequence). `position` is the log's last one after it.
    """

    published: Sequence[Published]
    claimed: Sequence[int | None]
    position: int = 0
    voted: Sequence[Tally] = ()


class Writer(Protocol):
    def commit(self, batch: Batch) -> Committed:
        """Store a batch in one transaction, all of it or nothing.

        Sequences follow the order of the drafts, per topic, without gaps. A draft whose topic,
        producer, message id and content were stored inside the deduplication window (earlier in
        this same batch included) is not stored again, also when retention deleted it since.
        A message's timestamp is the time of its arrival, or that of the newest message of the
        log where that is later.

        Raises WriteFailed. After it the writer can be used again, as soon as the cause is gone.
        """

    def index(self, limit: int) -> int:
        """Bring full-text search up to date by at most `limit` messages; how many were indexed."""

    def trim(self, retention: Retention, now: float, limit: int) -> int:
        """Delete about `limit` of the messages that need not be kept; 0: all is done.

        Always the oldest ones of a topic, with their consumptions; sequences go on. What was lost
        with them, and for whom, stays known.
        """

    def keep_minute(self, minute: NodeMinute, since: int) -> None:
        """Keep what a node measured in a minute, and forget every minute before `since`."""

    def checkpoint(self) -> None:
        """Do now what a later commit would have to do beside its own work, where there is such."""

    def close(self) -> None: ...


class Reader(Protocol):
    def ping(self) -> None:
        """Read something, or raise."""

    def last_timestamp(self) -> float:
        """The timestamp of the newest message that the log ever had, 0.0 if there was none."""

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

    def stretch(self, after: int, limit: int, max_bytes: int) -> Stretch:
        """Every topic's messages after a position: one at least, then what the bounds allow."""

    def log(self, topic: str, after: int, limit: int, max_bytes: int) -> Page:
        """A topic's messages after a sequence: one at least, then as many as the bounds allow."""

    def unconsumed(
        self, consumer: str, topic: str, after: int, last: int, limit: int, max_bytes: int
    ) -> Page:
        """What a consumer wants of a topic and has not consumed, from `after` to `last`."""

    def count_unconsumed(self, consumer: str, topic: str, limit: int) -> int:
        """How many messages of a topic a consumer has not consumed; counts to `limit`."""

    def loss(self, consumer: str, topic: str) -> Loss:
        """What a consumer wanted of a topic and cannot get any more."""

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

    def publish_edges(self, limit: int, since: float) -> list[Edge]:
        """Who published on what.

        First those that did `since` a time, in an order that does not change, then the others,
        most recent first.
        """

    def consume_edges(self, limit: int, since: float) -> list[Edge]:
        """Who consumed what, in the order of `publish_edges`; with `lag`."""

    def interests(self, limit: int) -> list[Interest]:
        """Who wants or wanted what, latest first."""

    def tally(self, suggestion_id: str) -> Tally:
        """How a suggestion stands; all 0 for one that nobody has voted on."""

    def inbox(
        self, topic: str, consumer: str, limit: int, *, before: int | None, only_unread: bool
    ) -> list[tuple[Message, float | None]]:
        """A topic's newest messages below a sequence, and when a consumer confirmed each."""

    def count_unread(self, topic: str, consumer: str) -> int:
        """How many retained messages of a topic a consumer has not confirmed."""

    def minutes(self, since: int, until: int, node_id: str | None, limit: int) -> list[NodeMinute]:
        """The minutes of one node, or of all, from `since` to before `until`, latest first."""

    def close(self) -> None: ...


class Database(Protocol):
    """An open, migrated database. `epoch` is the identity of its log."""

    epoch: str

    def writer(self) -> Writer: ...

    def reader(self) -> Reader: ...

    def registry(self) -> Registry: ...

    def source(self) -> AbstractContextManager[Source]:
        """The whole log at one moment; who writes does not wait. Raises DatabaseError."""

    def target(self) -> AbstractContextManager[Target]:
        """The log, to fill it; what is added stays if the context ends well.

        Raises DatabaseError.
        """

    def back_up(self, path: Path) -> None:
        """Copy the database, as it is at this moment, to a new file. Raises DatabaseError."""


def open_database(
    url: str,
    *,
    durability: str = "full",
    deduplication_seconds: float = 120.0,
    busy_timeout_seconds: float = 5.0,
) -> Database:
    """Open and migrate the database at a URL.

    `sqlite:///FILE` (four slashes: an absolute path) or `postgresql://USER:PASSWORD@HOST/NAME`.

    `busy_timeout_seconds` is how long a commit waits for another program that holds the database.

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
            busy_timeout_seconds=busy_timeout_seconds,
        )
    if scheme in ("postgresql", "postgres"):
        from .postgresql import PostgreSQLDatabase

        return PostgreSQLDatabase.open(
            url, durability=durability, deduplication_seconds=deduplication_seconds
        )
    raise ConfigurationError(
        f"PUBSUB_DATABASE_URL: no database of the kind {scheme!r}; write sqlite:///pubsub.db or "
        "postgresql://USER:PASSWORD@HOST/NAME"
    )


def check_exists(url: str) -> None:
    """Raises DatabaseError where opening a URL would make a database."""
    scheme, _, rest = url.partition("://")
    path = Path(rest.removeprefix("/"))
    if scheme == "sqlite" and not path.exists():
        raise DatabaseError(f"{path}: there is no such database")
