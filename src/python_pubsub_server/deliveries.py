"""What was sent to whom: the spans of time in which named consumers were live, and their replays.

A span is kept instead of a row for each message and consumer: from its two ends, which are
positions of the log, and the messages between them, the ledger says who was sent what.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Sequence

from . import logs
from .clock import LogClock
from .errors import RequestError
from .journal import Entry, Journal
from .model import Loss, Resent, SpanEnd, SpanStart
from .storage.database import Committed, Here

NOTED_SECONDS = 50.0


class Deliveries:
    """The spans that are open on this node. Belongs to the event loop; writes without waiting."""

    def __init__(self, node_id: str, clock: LogClock, delivered: Callable[[], int]) -> None:
        self._node_id = node_id
        self._clock = clock
        self._delivered = delivered
        self._open: dict[str, dict[str, int]] = {}  # connection, topic or pattern, span
        self._behind: dict[int, int] = {}  # a span whose replay is not through, where it began
        self._noted_at = 0.0
        self._next_span = secrets.randbits(62)
        self._journal: Journal | None = None

    def write_to(self, journal: Journal) -> None:
        self._journal = journal

    def here(self) -> Here | None:
        """What a commit notes of this node; nothing while nobody with a name listens."""
        return self.position() if self._open else None

    def note(self) -> None:
        """Keep what this node has delivered, so that other nodes' ledgers know it.

        Its own commits note that by themselves; this is for what other nodes published.
        """
        if self._open and self._journal is not None:
            self._noted_at = self._clock.now()
            try:
                self._journal.append(Entry(_written))
            except RequestError as error:
                _written(error)

    def keep_noted(self) -> None:
        """Note now and then that this node is there, though nothing happens. Called often."""
        if self._clock.now() >= self._noted_at + NOTED_SECONDS:
            self.note()

    def position(self) -> Here:
        return Here(self._node_id, self._delivered())

    def begin(
        self,
        connection_id: str,
        consumer: str,
        topics: Sequence[str],
        after: int,
        behind: Collection[str] = (),
    ) -> None:
        """A consumer is live on topics from behind a position on.

        Those that are `behind` get what is new only when their replay is through (`caught_up`).
        """
        spans = self._open.setdefault(connection_id, {})
        ended = self._ends(spans, topics, "unsubscribed")
        now = self._clock.now()
        starts = []
        for topic in topics:
            self._next_span += 1
            spans[topic] = self._next_span
            if topic in behind:
                self._behind[self._next_span] = after
            starts.append(SpanStart(self._next_span, self._node_id, consumer, topic, after, now))
        self._write([*ended, *starts])

    def caught_up(self, connection_id: str) -> None:
        """A connection's replays are through: it was sent all that its spans stand for."""
        for span in self._open.get(connection_id, {}).values():
            self._behind.pop(span, None)

    def resent(self, consumer: str, topic: str, after: int, through: int) -> None:
        """A consumer was sent a topic's sequences behind one and up to another."""
        self._write([Resent(consumer, topic, after, through, self._clock.now())])

    def told(self, losses: Sequence[Loss]) -> None:
        """A consumer was told what it has lost."""
        self._write(losses)

    def end(self, connection_id: str, topics: Sequence[str], reason: str = "unsubscribed") -> None:
        spans = self._open.get(connection_id)
        if spans:
            self._write(self._ends(spans, topics, reason))

    def disconnect(self, connection_id: str, stalled_at: float | None = None) -> None:
        """A connection is gone; `stalled_at` is since when it took nothing, if it was too slow."""
        spans = self._open.pop(connection_id, None)
        if spans:
            reason = "disconnected" if stalled_at is None else "slow"
            self._write(self._ends(spans, list(spans), reason, stalled_at))

    def _ends(
        self,
        spans: dict[str, int],
        topics: Sequence[str],
        reason: str,
        stalled_at: float | None = None,
    ) -> list[SpanEnd]:
        now, through = self._clock.now(), self._delivered()
        ended = [spans.pop(topic) for topic in topics if topic in spans]
        return [
            SpanEnd(span, self._behind.pop(span, through), now, reason, stalled_at)
            for span in ended
        ]

    def _write(self, deliveries: Sequence[SpanStart | SpanEnd | Resent | Loss]) -> None:
        if deliveries and self._journal is not None:
            try:
                self._journal.append(Entry(_written, deliveries=deliveries))
            except RequestError as error:
                _written(error)


def _written(outcome: Committed | RequestError) -> None:
    if isinstance(outcome, RequestError):
        logs.event(logging.WARNING, "ledger_incomplete", reason=outcome.message)
