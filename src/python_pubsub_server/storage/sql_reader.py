"""What is read from a log in the same way whatever the database is.

No query scans the log: each walks an index from its start.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from msgspec import Raw

from ..model import (
    Consumption,
    Edge,
    Explanation,
    Interest,
    Ledger,
    Loss,
    Message,
    NodeMinute,
    Page,
    Stretch,
    Tally,
    TopicPosition,
    TopicSummary,
    matches,
)
from .database import Here, Reader
from .search import indexed_words, is_found, query_words
from .sql import Connection
from .sql_inbox import count_unread, read_inbox
from .sql_ledger import explain, read_ledger
from .sql_minutes import read_minutes
from .sql_owed import loss
from .sql_replay import Pages, count_unconsumed, log_page, stretch, unconsumed_page
from .sql_rows import below_of, last_below, message_of, whole
from .sql_votes import read_tally

T = TypeVar("T")

_LAST_TIMESTAMP = "SELECT coalesce(max(last_published_at), 0.0) FROM topics"
_POSITION = "SELECT topic, sequence, first FROM topics WHERE topic = ?"
_POSITIONS = (
    "SELECT topic, sequence, first FROM topics WHERE topic >= ? AND topic < ? ORDER BY topic"
)
_ALL_POSITIONS = "SELECT topic, sequence, first FROM topics ORDER BY topic"
_TOPICS = """SELECT topic, sequence, sequence - first + 1,
    (SELECT count(*) FROM publishers AS p WHERE p.topic_id = t.topic_id), last_published_at
    FROM topics AS t ORDER BY topic"""
_TOPIC_COUNT = "SELECT count(*) FROM topics"
_LATEST_INTERESTS = """SELECT c.consumer, i.topic
    FROM (SELECT * FROM interests ORDER BY first_at DESC, consumer_id, topic LIMIT ?) AS i
    CROSS JOIN consumers AS c ON c.consumer_id = i.consumer_id
    ORDER BY i.first_at DESC, i.consumer_id, i.topic"""
_TOPIC = "SELECT topic_id, sequence, first FROM topics WHERE topic = ?"
_TOPIC_ID = "SELECT topic_id FROM topics WHERE topic = ?"
_CONSUMER_ID = "SELECT consumer_id FROM consumers WHERE consumer = ?"
_PING = "SELECT epoch FROM log"
_PROGRESS = "SELECT position FROM search_progress"

# A search looks through this many of the newest messages itself. A common word is found there,
# so that the index is only asked for words that are rare.
_SCAN_AT_LEAST = 1_500
# ... and through at most this many of those that the index does not have yet.
_SCAN_AT_MOST = 20_000
_SCAN_PAGE = 500


class SQLReader(ABC):
    """Reads through one connection that cannot write. Raises ReadFailed."""

    _pages: ClassVar[Pages]
    _indexed_query: ClassVar[str]  # for an expression, below a position, so many at most
    _publish_edges_query: ClassVar[str]  # :limit of them, first those in use since :since
    _consume_edges_query: ClassVar[str]

    @abstractmethod
    def _rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""

    @abstractmethod
    def _snapshot(self, read: Callable[[Connection], T]) -> T:
        """What several queries find in one state of the log."""

    @abstractmethod
    def _newest_query(self, *, on_topic: bool, of_producer: bool) -> str:
        """Up to :limit messages below the position :below, newest first, with their positions.

        On the topic with the number :topic (up to the sequence :last), of the producer :name; of a
        producer there is no :last.
        """

    @abstractmethod
    def _consumptions_query(self, *, on_topic: bool, of_consumer: bool) -> str:
        """Up to :limit consumptions below the position :below, newest first, with their positions.

        On the topic with the number :topic, of the consumer with the number :name.
        """

    @abstractmethod
    def _expression(self, wanted: list[str], topic: str | None, producer: str | None) -> str:
        """What `_indexed_query` looks for: words, and what must be of a topic and a producer."""

    @abstractmethod
    def close(self) -> None: ...

    def snapshot(self, read: Callable[[Reader], T]) -> T:
        return self._snapshot(lambda _: read(self))

    def ping(self) -> None:
        self._rows(_PING)

    def last_timestamp(self) -> float:
        return float(self._rows(_LAST_TIMESTAMP)[0][0])

    def position(self, topic: str) -> TopicPosition:
        rows = self._rows(_POSITION, (topic,))
        return TopicPosition(*rows[0]) if rows else TopicPosition(topic, 0, 1)

    def positions(self, pattern: str) -> list[TopicPosition]:
        if not pattern.endswith("*"):
            rows = self._rows(_POSITION, (pattern,))
        elif pattern == "*":
            rows = self._rows(_ALL_POSITIONS)
        else:
            prefix = pattern[:-1]
            # Greater than every topic that has the prefix: topics have at most 200 characters.
            rows = self._rows(_POSITIONS, (prefix, prefix + "\U0010ffff" * 201))
        return [TopicPosition(*row) for row in rows if matches(pattern, row[0])]

    def topics(self) -> list[TopicSummary]:
        return [TopicSummary(*row) for row in self._rows(_TOPICS)]

    def topic_count(self) -> int:
        return int(self._rows(_TOPIC_COUNT)[0][0])

    def last_position(self) -> int:
        return int(self._rows(self._pages.last_position)[0][0])

    def stretch(self, after: int, limit: int, max_bytes: int) -> Stretch:
        return self._snapshot(lambda c: stretch(c, self._pages, whole(after), limit, max_bytes))

    def log(self, topic: str, after: int, limit: int, max_bytes: int) -> Page:
        return self._snapshot(
            lambda c: log_page(c, self._pages, topic, whole(after), limit, max_bytes)
        )

    def unconsumed(
        self, consumer: str, topic: str, after: int, last: int, limit: int, max_bytes: int
    ) -> Page:
        return self._snapshot(
            lambda c: unconsumed_page(
                c, self._pages, consumer, topic, whole(after), whole(last), limit, max_bytes
            )
        )

    def count_unconsumed(self, consumer: str, topic: str, limit: int) -> int:
        return self._snapshot(lambda c: count_unconsumed(c, self._pages, consumer, topic, limit))

    def loss(self, consumer: str, topic: str) -> Loss:
        return self._snapshot(lambda c: loss(c, consumer, topic))

    def ledger(self, topic: str, sequence: int, here: Here) -> Ledger | None:
        return self._snapshot(lambda c: read_ledger(c, topic, whole(sequence), here))

    def explain(self, topic: str, sequence: int, consumer: str, here: Here) -> Explanation:
        return self._snapshot(lambda c: explain(c, topic, whole(sequence), consumer, here))

    def messages(
        self,
        limit: int,
        topic: str | None = None,
        producer: str | None = None,
        text: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Message]]:
        below = below_of(before)
        if text is None or not text.strip():
            return self._newest(whole(limit), topic, producer, below)
        wanted = query_words(text)
        return self._search(whole(limit), topic, producer, wanted, below) if wanted else []

    def consumptions(
        self,
        limit: int,
        topic: str | None = None,
        consumer: str | None = None,
        before: int | None = None,
    ) -> list[tuple[int, Consumption]]:
        values: dict[str, Any] = {"below": below_of(before), "limit": whole(limit)}
        for key, query, name in (("topic", _TOPIC_ID, topic), ("name", _CONSUMER_ID, consumer)):
            if name is not None:
                rows = self._rows(query, (name,))
                if not rows:
                    return []
                values[key] = rows[0][0]
        query = self._consumptions_query(
            on_topic=topic is not None, of_consumer=consumer is not None
        )
        return [
            (row[0], Consumption(row[1], row[2], row[3], Raw(row[4]), row[5]))
            for row in self._rows(query, values)
        ]

    def publish_edges(self, limit: int, since: float) -> list[Edge]:
        return self._edges(self._publish_edges_query, limit, since)

    def consume_edges(self, limit: int, since: float) -> list[Edge]:
        return self._edges(self._consume_edges_query, limit, since)

    def tally(self, suggestion_id: str) -> Tally:
        return self._snapshot(lambda c: read_tally(c, suggestion_id))

    def inbox(
        self, topic: str, consumer: str, limit: int, *, before: int | None, only_unread: bool
    ) -> list[tuple[Message, float | None]]:
        return self._snapshot(
            lambda c: read_inbox(c, topic, consumer, limit, before=before, only_unread=only_unread)
        )

    def count_unread(self, topic: str, consumer: str) -> int:
        return self._snapshot(lambda c: count_unread(c, topic, consumer))

    def minutes(self, since: int, until: int, node_id: str | None, limit: int) -> list[NodeMinute]:
        return self._snapshot(lambda c: read_minutes(c, whole(since), whole(until), node_id, limit))

    def interests(self, limit: int) -> list[Interest]:
        return [Interest(*row) for row in self._rows(_LATEST_INTERESTS, (whole(limit),))]

    def _edges(self, query: str, limit: int, since: float) -> list[Edge]:
        values = {"limit": whole(limit), "since": since}
        return [Edge(*row) for row in self._rows(query, values)]

    def _newest(
        self, limit: int, topic: str | None, producer: str | None, below: int
    ) -> list[tuple[int, Message]]:
        """The newest messages below a position, with their positions."""
        values: dict[str, Any] = {"below": below, "limit": limit, "name": producer}
        if topic is not None:
            rows = self._rows(_TOPIC, (topic,))
            if not rows:
                return []
            topic_id, sequence, first = rows[0]
            values["topic"] = topic_id
            if producer is None:
                values["last"] = self._snapshot(
                    lambda c: last_below(c, topic_id, first, sequence, below)
                )
        query = self._newest_query(on_topic=topic is not None, of_producer=producer is not None)
        return [(row[0], message_of(row[1:])) for row in self._rows(query, values)]

    def _search(
        self, limit: int, topic: str | None, producer: str | None, wanted: list[str], below: int
    ) -> list[tuple[int, Message]]:
        progress = self._rows(_PROGRESS)[0][0]
        found: list[tuple[int, Message]] = []
        for scanned, (position, message) in enumerate(self._walk(topic, producer, below)):
            is_indexed = position <= progress
            if scanned >= (_SCAN_AT_LEAST if is_indexed else _SCAN_AT_MOST):
                break
            below = position
            if is_found(wanted, indexed_words(message)):
                found.append((position, message))
                if len(found) == limit:
                    return found
        else:
            return found
        values = (
            self._expression(wanted, topic, producer),
            min(below, progress + 1),
            limit - len(found),
        )
        rows = self._rows(self._indexed_query, values)
        return found + [(row[0], message_of(row[1:])) for row in rows]

    def _walk(
        self, topic: str | None, producer: str | None, below: int
    ) -> Iterator[tuple[int, Message]]:
        while page := self._newest(_SCAN_PAGE, topic, producer, below):
            yield from page
            below = page[-1][0]
