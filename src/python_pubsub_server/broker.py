"""What can be asked of the server, whatever door the question came through."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import logs
from .channels import VOTES
from .clock import LogClock
from .errors import Forbidden, NotFound, RequestError
from .feed import Feed
from .hub import Hub
from .identity import EVERYTHING, Identity
from .journal import Entry, Journal, Pause
from .metrics import Metrics
from .model import Claim, Draft, Message, Published, Tally, Vote
from .rates import Rates
from .storage.database import Batch, Committed
from .storage.readers import Readers

if TYPE_CHECKING:
    from .limits import Limits

Answer = Callable[[Sequence[Published] | RequestError], None]


class Broker:
    """The use cases of publishing and consuming; subscribing is in `subscribing.py`."""

    def __init__(
        self,
        journal: Journal,
        hub: Hub,
        readers: Readers,
        clock: LogClock,
        limits: Limits | None = None,
    ) -> None:
        self.journal = journal
        self.hub = hub
        self.readers = readers
        self.clock = clock
        self._limits = limits  # None: nothing is limited

    def publish(self, identity: Identity, drafts: Sequence[Draft]) -> Sequence[Published]:
        """Store messages, all or none, and wait until they are committed.

        Raises Forbidden, RateLimited, and Unavailable; then nothing is stored, unless the text
        says otherwise.
        """
        for index, draft in enumerate(drafts):
            try:
                _check_publish(identity, draft)
            except Forbidden as error:
                if len(drafts) == 1:
                    raise
                raise Forbidden(f"Item {index}: {error.message}") from None
        if self._limits is None:
            return self.journal.write(drafts=drafts).published
        self._limits.publish(identity, [draft.topic for draft in drafts])
        published = self.journal.write(drafts=drafts).published
        self._limits.published(identity, published)
        return published

    def publish_soon(self, identity: Identity, draft: Draft, answer: Answer) -> None:
        """Store a message without waiting; `answer` hears of it once it is committed or refused.

        Messages are stored in the order of the calls. Raises Forbidden, RateLimited.
        """
        _check_publish(identity, draft)
        limits = self._limits
        if limits is not None:
            limits.publish(identity, (draft.topic,))

        def committed(outcome: Committed | RequestError) -> None:
            if isinstance(outcome, RequestError):
                answer(outcome)
                return
            if limits is not None:
                limits.published(identity, outcome.published)
            answer(outcome.published)

        self.journal.append(Entry(committed, drafts=(draft,)))

    def vote(self, identity: Identity, vote: Vote) -> Tally:
        """Set a user's vote, and wait until it is committed with the message that tells of it.

        Raises Forbidden, RateLimited, Unavailable.
        """
        identity.check_subscribe(VOTES)
        if self._limits is not None:
            self._limits.publish(identity, (VOTES,))
        return self.journal.write(votes=[vote]).voted[0]

    def consume(self, identity: Identity, claim: Claim) -> int:
        """Record that a consumer processed a message, and wait; how many were new.

        Raises Forbidden, NotFound.
        """
        _check_consume(identity, claim)
        (recorded,) = self.journal.write(claims=[claim]).claimed
        if recorded is None:
            raise _unknown(claim)
        return recorded

    def consume_soon(
        self, identity: Identity, claim: Claim, answer: Callable[[int | RequestError], None]
    ) -> None:
        """Record that a consumer processed a message; `answer` hears how many were new.

        Raises Forbidden.
        """
        _check_consume(identity, claim)

        def committed(outcome: Committed | RequestError) -> None:
            if isinstance(outcome, RequestError):
                answer(outcome)
                return
            recorded = outcome.claimed[0]
            answer(_unknown(claim) if recorded is None else recorded)

        self.journal.append(Entry(committed, claims=(claim,)))


class Announcer:
    """Hears of every commit of this node: counts and logs it, and hands it to the feed."""

    def __init__(self, feed: Feed, rates: Rates, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._feed = feed
        self._rates = rates
        self.on_commit: Callable[[], None] = lambda: None
        # Tells the other nodes: first and last position, and the messages.
        self.announce: Callable[[int, int, Sequence[Message]], None] | None = None
        self.published = 0
        # Hears last: what it fails at has been delivered.
        self.on_delivered: Callable[[Batch, Committed, Sequence[Message]], None] = _nobody

    def committed(self, batch: Batch, outcome: Committed) -> Iterator[Pause] | None:
        self.on_commit()
        fresh = [p.message for p in outcome.published if not p.duplicate]
        links = Counter(("publish", m.producer, m.topic) for m in fresh)
        for claim, recorded in zip(batch.claims, outcome.claimed, strict=True):
            if recorded:
                links["consume", claim.consumer, claim.topic] += recorded
        for link, number in links.items():
            self._rates.count(link, number, batch.at)
        consumed = sum(filter(None, outcome.claimed))
        self._metrics.stored(len(fresh), len(outcome.published) - len(fresh), consumed)
        if logging.getLogger(logs.LOGGER).isEnabledFor(logging.DEBUG):
            _log(batch, outcome)
        self.published += len(fresh)
        if fresh and self.announce is not None:
            self.announce(outcome.position - len(fresh) + 1, outcome.position, fresh)
        rest = self._feed.committed(fresh, outcome.position)
        if rest is not None:
            return self._finish(rest, batch, outcome, fresh)
        self.on_delivered(batch, outcome, fresh)
        return None

    def heard(self, messages: Sequence[Message], at: float) -> None:
        """Count what another node published and this one has delivered."""
        for (producer, topic), number in Counter((m.producer, m.topic) for m in messages).items():
            self._rates.count(("publish", producer, topic), number, at)

    def _finish(
        self, rest: Iterator[Pause], batch: Batch, outcome: Committed, fresh: Sequence[Message]
    ) -> Iterator[Pause]:
        yield from rest
        self.on_delivered(batch, outcome, fresh)


def _check_publish(identity: Identity, draft: Draft) -> None:
    if identity.rights is not EVERYTHING:  # else it may publish anything in any name
        identity.check_publish(draft.topic)
        identity.check_name(draft.producer, "producer")


def _check_consume(identity: Identity, claim: Claim) -> None:
    if identity.rights is not EVERYTHING:  # else it may confirm anything in any name
        identity.check_name(claim.consumer, "consumer")
        identity.check_subscribe(claim.topic)


def _nobody(batch: Batch, outcome: Committed, fresh: Sequence[Message]) -> None:
    pass


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
