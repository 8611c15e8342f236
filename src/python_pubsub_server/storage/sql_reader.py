"""What is read from a log in the same way whatever the database is.

No query scans the log: each walks an index from its start.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..model import (
    Explanation,
    Interest,
    Ledger,
    Loss,
    Message,
    NodeMinute,
    Tally,
    TopicPosition,
    TopicSummary,
    matches,
)
from .database import Here
from .search import indexed_words, is_found, query_words
from .sql import Connection
from .sql_inbox import count_unread, read_inbox
from .sql_ledger import explain, read_ledger
from .sql_minutes import read_minutes
from .sql_owed import loss
from .sql_rows import below_of, whole
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

    @abstractmethod
    def _rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""

    @abstractmethod
    def _snapshot(self, read: Callable[[Connection], T]) -> T:
        """What several queries find in one state of the log."""

    @abstractmethod
    def _newest(
        self, limit: int, topic: str | None, producer: str | None, below: int
    ) -> list[tuple[int, Message]]:
        """The newest messages below a position, with their positions."""

    @abstractmethod
    def _indexed(
        self, wanted: list[str], topic: str | None, producer: str | None, below: int, limit: int
    ) -> list[tuple[int, Message]]:
        """The newest messages below a position that the full-text index has for these words."""

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
        below = min(below, progress + 1)
        return found + self._indexed(wanted, topic, producer, below, limit - len(found))

    def _walk(
        self, topic: str | None, producer: str | None, below: int
    ) -> Iterator[tuple[int, Message]]:
        while page := self._newest(_SCAN_PAGE, topic, producer, below):
            yield from page
            below = page[-1][0]
