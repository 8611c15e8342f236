"""What can be asked of the server, whatever door the question came through."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from . import logs
from .auth import Identity
from .clock import LogClock
from .errors import NotFound, RequestError
from .hub import Hub
from .journal import Entry, Journal
from .model import Claim, Draft, Message, Published
from .rates import Rates
from .storage.database import Batch, Committed
from .storage.readers import Readers

MAX_PART_BYTES = 2**19
MAX_TURNS = 1_000  # of the event loop, two milliseconds each, that a batch may wait for readers
MESSAGE_OVERHEAD = 200  # names, times and framing of a message

Answer = Callable[[Sequence[Published] | RequestError], None]


class Broker:
    """The use cases of publishing and consuming; subscribing is in `subscribing.py`."""

    def __init__(self, journal: Journal, hub: Hub, readers: Readers, clock: LogClock) -> None:
        self.journal = journal
        self.hub = hub
        self.readers = readers
        self.clock = clock

    def publish(self, identity: Identity, drafts: Sequence[Draft]) -> Sequence[Published]:
        """Store messages, all or none, and wait until they are committed.

        Raises Unavailable; then nothing is stored, unless the text says otherwise.
        """
        return self.journal.write(drafts=drafts).published

    def publish_soon(self, identity: Identity, draft: Draft, answer: Answer) -> None:
        """Store a message without waiting; `answer` hears of it once it is committed or refused.

        Messages are stored in the order of the calls.
        """

        def committed(outcome: Committed | RequestError) -> None:
            answer(outcome if isinstance(outcome, RequestError) else outcome.published)

        self.journal.append(Entry(committed, drafts=(draft,)))

    def consume_soon(
        self, identity: Identity, claim: Claim, answer: Callable[[int | RequestError], None]
    ) -> None:
        """Record that a consumer processed a message; `answer` hears how many were new."""

        def committed(outcome: Committed | RequestError) -> None:
            if isinstance(outcome, RequestError):
                answer(outcome)
                return
            recorded = outcome.claimed[0]
            answer(_unknown(claim) if recorded is None else recorded)

        self.journal.append(Entry(committed, claims=(claim,)))


class Announcer:
    """Hears of every commit: counts, logs and delivers it."""

    def __init__(self, hub: Hub, rates: Rates) -> None:
        self._hub = hub
        self._rates = rates
        self.delivered = 0  # the log's position up to which everything is delivered
        self.on_commit: Callable[[], None] = lambda: None
        # Hears last: what it fails at has been delivered.
        self.on_delivered: Callable[[Batch, Committed, Sequence[Message]], None] = _nobody

    def committed(self, batch: Batch, outcome: Committed) -> Iterator[object] | None:
        self.on_commit()
        fresh = [p.message for p in outcome.published if not p.duplicate]
        links = Counter(("publish", m.producer, m.topic) for m in fresh)
        for claim, recorded in zip(batch.claims, outcome.claimed, strict=True):
            if recorded:
                links["consume", claim.consumer, claim.topic] += recorded
        for link, number in links.items():
            self._rates.count(link, number, batch.at)
        if logging.getLogger(logs.LOGGER).isEnabledFor(logging.DEBUG):
            _log(batch, outcome)
        parts = _parts(fresh)
        if len(parts) > 1:
            return self._deliver_in_turns(parts, batch, outcome, fresh)
        self._deliver(fresh)
        self.delivered = outcome.position
        self.on_delivered(batch, outcome, fresh)
        return None

    def _deliver_in_turns(
        self,
        parts: Sequence[Sequence[Message]],
        batch: Batch,
        outcome: Committed,
        fresh: Sequence[Message],
    ) -> Iterator[object]:
        """A batch that would fill the connections' buffers leaves in parts that do not.

        Between two parts the slowest reader gets time, but no more than a reader that is only
        slow needs: one that has stopped may not hold up the publishers, and is cut off instead.
        """
        turns = MAX_TURNS
        for part in parts:
            self._deliver(part)
            yield part
            while turns and self._hub.backlog(part) > MAX_PART_BYTES:
                turns -= 1
                yield part
        self.delivered = outcome.position
        self.on_delivered(batch, outcome, fresh)

    def _deliver(self, messages: Sequence[Message]) -> None:
        try:
            self._hub.deliver(messages)
        except Exception:
            # Somebody may have missed something: everybody comes again and says what it has.
            self._hub.cut_off("delivery failed")
            raise


def _nobody(batch: Batch, outcome: Committed, fresh: Sequence[Message]) -> None:
    pass


def _parts(messages: Sequence[Message]) -> Sequence[Sequence[Message]]:
    """Messages cut where more than half a megabyte would leave at once."""
    if len(messages) < 2:
        return [messages]
    parts, start, size = [], 0, 0
    for end, message in enumerate(messages):
        size += memoryview(message.message).nbytes + MESSAGE_OVERHEAD
        if size > MAX_PART_BYTES and end > start:
            parts.append(messages[start:end])
            start, size = end, memoryview(message.message).nbytes
    parts.append(messages[start:])
    return parts


def _log(batch: Batch, outcome: Committed) -> None:
    for published in outcome.published:
        message = published.message
        logs.event(
            logging.DEBUG,
            "published",
            topic=message.topic,
            sequence=message.sequence,
            message_id=message.message_id,
            producer=message.producer,
            duplicate=published.duplicate,
        )
    for claim, recorded in zip(batch.claims, outcome.claimed, strict=True):
        logs.event(
            logging.DEBUG,
            "consumed",
            consumer=claim.consumer,
            topic=claim.topic,
            message_id=claim.message_id,
            sequence=claim.sequence,
            recorded=recorded,
        )


def _unknown(claim: Claim) -> NotFound:
    place = "" if claim.sequence is None else f" at sequence {claim.sequence}"
    return NotFound(
        f"The topic {claim.topic!r} has no retained message {claim.message_id!r}{place}"
    )
