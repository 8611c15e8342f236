"""Joining topics: from the first missed message into the live stream, without gap or duplicate.

What a subscriber misses is read from the log in pages. Near the present a hold keeps what is
published in the meantime; the last page and the hold meet at a sequence that both know, and from
there the topic is live. Everything here runs in the greenlet of the connection that subscribes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from . import logs
from .auth import Identity
from .broker import Broker
from .deliveries import Deliveries
from .errors import Invalid, Unavailable
from .hub import Hold, Subscriber
from .model import Interest, Message, Page, TopicPosition, is_pattern, matches
from .storage.database import Reader
from .transport.connection import Broadcast, Connection
from .wire import MAX_SUBSCRIPTIONS, After, Subscribe, encode

PAGE = 500
DRAIN_TIMEOUT = 30.0
MAX_KNOWN_INTERESTS = 100_000
MAX_TRIES = 10


class JoinedTopic(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a subscription begins. A pattern's counts are sums and bounds over its `topics`."""

    topic: str
    sequence: int
    first: int
    replayed: int
    recovered: bool
    topics: Sequence[JoinedTopic] | None = None


class Subscribed(msgspec.Struct, frozen=True):
    """The acknowledgement of `subscribe`, and the event `subscribed`."""

    status: str
    epoch: str
    consumer: str
    topics: Sequence[JoinedTopic]


class Replay(msgspec.Struct, frozen=True):
    """What a subscriber missed of a topic: `count` messages after `after`, up to `last`."""

    topic: str
    after: int
    last: int
    count: int
    recovered: bool
    is_unconsumed: bool = False


class Plan(msgspec.Struct, frozen=True):
    """Where the log and the wanted topics stand (patterns: each that they cover), what was missed.

    All of one state of the log.
    """

    position: int
    positions: Mapping[str, Sequence[TopicPosition]]
    replays: Mapping[str, Replay]


class Subscribing:
    """The use case of subscribing. Keeps in mind which interests are stored already."""

    def __init__(
        self,
        broker: Broker,
        deliveries: Deliveries,
        epoch: str,
        *,
        replay_limit: int,
        page_bytes: int = 2**20,
    ) -> None:
        self._broker = broker
        self._deliveries = deliveries
        self._hub = broker.hub
        self._readers = broker.readers
        self._epoch = epoch
        self._replay_limit = replay_limit
        self._page_bytes = page_bytes
        self._known: OrderedDict[Interest, None] = OrderedDict()
        self.on_join: Callable[[str, Sequence[str], float], None] = _nobody
        self.on_leave: Callable[[str, Sequence[str], float], None] = _nobody

    def subscribe(
        self, identity: Identity, connection: Connection, request: Subscribe
    ) -> Subscribed:
        """Join topics; returns when every missed message is on its way and the rest is live.

        The event `subscribed` goes out before the first message. Raises Invalid, Unavailable.
        """
        subscriber = self._subscriber(connection, request)
        if subscriber.is_named:
            self._remember(subscriber.consumer, request.topics)
        new = [topic for topic in request.topics if topic not in subscriber.subscriptions]
        if len(subscriber.subscriptions) + len(new) > MAX_SUBSCRIPTIONS:
            raise Invalid(f"A connection may have {MAX_SUBSCRIPTIONS} subscriptions at most")
        try:
            plan, holds = self._join(subscriber, request, new)
        except BaseException:
            self._hub.leave(subscriber, new)
            for topic in new:
                self._hub.release(subscriber, topic)
            if any(_is_live(subscriber, topic) for topic in new):
                connection.close("subscribe failed")  # what was held, it should have got
            raise
        answer = self._answer(subscriber, request, plan)
        connection.send(Broadcast("subscribed", [encode(answer)]))
        self._go_live(subscriber, plan, holds)
        self.on_join(subscriber.consumer, request.topics, self._broker.clock.now())
        replays = [replay for replay in plan.replays.values() if replay.count]
        if subscriber.is_named and not subscriber.is_gone:
            behind = {
                topic
                for topic, found in plan.positions.items()
                if any(p.topic in plan.replays and plan.replays[p.topic].count for p in found)
            }
            self._deliveries.begin(
                connection.connection_id,
                subscriber.consumer,
                request.topics,
                plan.position,
                behind,
            )
        try:
            if all(self._catch_up(subscriber, replay) for replay in replays):
                self._deliveries.caught_up(connection.connection_id)
        except BaseException:
            connection.close("replay failed")  # half a replay must not look like a whole one
            raise
        logs.event(logging.DEBUG, "subscribed", consumer=subscriber.consumer, topics=request.topics)
        return answer

    def unsubscribe(self, connection: Connection, topics: Sequence[str] | None) -> list[str]:
        """Leave topics (None: all of them); those that the connection was subscribed to."""
        subscriber = self._hub.subscriber(connection.connection_id)
        if subscriber is None:
            return []
        left = self._hub.leave(subscriber, topics)
        self._deliveries.end(connection.connection_id, left)
        self.on_leave(subscriber.consumer, left, self._broker.clock.now())
        return left

    def disconnect(self, connection: Connection) -> list[str]:
        """Forget a connection that has ended; the topics it was subscribed to."""
        self._deliveries.disconnect(connection.connection_id, connection.stalled_at)
        subscriber = self._hub.subscriber(connection.connection_id)
        left = self._hub.disconnect(connection.connection_id)
        if subscriber is not None:
            self.on_leave(subscriber.consumer, left, self._broker.clock.now())
        return left

    def _subscriber(self, connection: Connection, request: Subscribe) -> Subscriber:
        """The connection's subscriber; a name given before stays until another one is given."""
        subscriber = self._hub.add(connection)
        if request.consumer is not None:
            subscriber.consumer = request.consumer
            subscriber.is_named = True
        if not subscriber.is_named:
            if not request.is_short:
                raise Invalid("Missing required field: consumer")
            starts = request.after.values() if isinstance(request.after, Mapping) else ()
            if "consumed" in (request.after, *starts):
                raise Invalid('`after: "consumed"` needs a `consumer`')
        return subscriber

    def _remember(self, consumer: str, topics: Sequence[str]) -> None:
        """Store that a consumer wants these topics, before it is told that it has them."""
        interests = [Interest(consumer, topic) for topic in topics]
        fresh = [interest for interest in interests if interest not in self._known]
        if fresh:
            self._broker.journal.write(interests=fresh)
        for interest in interests:
            self._known[interest] = None
            self._known.move_to_end(interest)
        while len(self._known) > MAX_KNOWN_INTERESTS:
            self._known.popitem(last=False)

    def _join(
        self, subscriber: Subscriber, request: Subscribe, new: Sequence[str]
    ) -> tuple[Plan, Mapping[str, Hold]]:
        """Join new topics with a hold on each, and read where they stand meanwhile.

        Tried again where more was published during the reading than a hold keeps.
        """
        now = self._broker.clock.now()
        # What is live already by a pattern stays so, unless it is replayed.
        held = [
            topic
            for topic in new
            if _start_of(request, topic, topic) is not None or not _is_live(subscriber, topic)
        ]
        for _ in range(MAX_TRIES):
            holds = {topic: Hold() for topic in held}
            for topic, hold in holds.items():
                self._hub.hold_back(subscriber, topic, hold)
            for topic in request.topics:
                self._hub.join(subscriber, topic, now)
            plan = self._readers.read(
                lambda reader: reader.snapshot(
                    lambda r: self._plan(r, request, subscriber.consumer)
                )
            )
            self._broker.journal.settle()
            if not any(hold.is_broken for hold in holds.values()):
                return plan, holds
        raise Unavailable("Too much is published on these topics to join them now; try again")

    def _plan(self, reader: Reader, request: Subscribe, consumer: str) -> Plan:
        """In a reader's thread: where the topics stand, and what must be replayed on which."""
        positions = {
            topic: reader.positions(topic) if is_pattern(topic) else [reader.position(topic)]
            for topic in request.topics
        }
        is_same_log = request.epoch in (None, self._epoch)
        replays: dict[str, Replay] = {}
        for wanted, found in positions.items():
            for position in found:
                start = _start_of(request, wanted, position.topic)
                if start is None or position.topic in replays:
                    continue
                if start == "consumed":
                    replay = self._unconsumed(reader, consumer, position, is_same_log)
                else:
                    replay = self._missed(position, start, is_same_log)
                replays[position.topic] = replay
        return Plan(reader.last_position(), positions, replays)

    def _unconsumed(
        self, reader: Reader, consumer: str, position: TopicPosition, is_same_log: bool
    ) -> Replay:
        """The oldest messages that a consumer has not consumed, as many as one replay may have."""
        limit = self._replay_limit
        count = reader.count_unconsumed(consumer, position.topic, limit + 1)
        is_whole = is_same_log and count <= limit
        return Replay(position.topic, 0, position.sequence, min(count, limit), is_whole, True)

    def _missed(self, position: TopicPosition, start: After, is_same_log: bool) -> Replay:
        """What came after a sequence; where that is too much or trimmed, what is left of it."""
        last, first = position.sequence, position.first
        if isinstance(start, int) and is_same_log:
            if start > last:  # a sequence that this log never gave
                return Replay(position.topic, last, last, 0, recovered=False)
            wanted = start
        else:
            wanted = first - 1
        begin = max(wanted, first - 1, last - self._replay_limit)
        is_whole = is_same_log and begin == wanted
        return Replay(position.topic, begin, last, last - begin, recovered=is_whole)

    def _answer(self, subscriber: Subscriber, request: Subscribe, plan: Plan) -> Subscribed:
        def joined(topic: str) -> list[JoinedTopic]:
            return [
                _joined(p, plan.replays.get(p.topic), is_same_log) for p in plan.positions[topic]
            ]

        is_same_log = request.epoch in (None, self._epoch)
        topics = [
            _summary(topic, joined(topic), _has_all(request, topic, plan, is_same_log))
            for topic in request.topics
        ]
        return Subscribed("ok", self._epoch, subscriber.consumer, topics)

    def _go_live(self, subscriber: Subscriber, plan: Plan, holds: Mapping[str, Hold]) -> None:
        """Hand over what was held since the positions were read; what is replayed stays behind."""
        behind = {replay.topic for replay in plan.replays.values() if replay.count}
        for topic in behind - holds.keys():
            self._hub.hold_back(subscriber, topic, None)
        for topic in holds.keys() - behind:
            self._hub.release(subscriber, topic)
            known = {p.topic: p.sequence for p in plan.positions[topic]}
            _send(
                subscriber,
                [
                    message
                    for message in holds[topic].messages
                    if message.topic not in behind
                    and message.sequence > known.get(message.topic, 0)
                ],
            )

    def _catch_up(self, subscriber: Subscriber, replay: Replay) -> bool:
        """Replay a topic up to the present and join it there; False: the connection ended.

        A page that was the last one while a hold was on it is the present: what came since is in
        the hold. So a hold is begun as soon as the page before it was short.
        """
        topic = replay.topic
        self._hub.hold_back(subscriber, topic, None)
        start = cursor = self._replay_unconsumed(subscriber, replay)
        hold = Hold() if replay.last - cursor < PAGE else None
        while self._has_room(subscriber):
            self._hub.hold_back(subscriber, topic, hold)
            page = self._log(topic, cursor)
            if page is None:
                raise Unavailable(
                    f"The topic {topic!r} was trimmed while it was replayed; subscribe again"
                )
            _send(subscriber, page.messages, replayed_through=replay.last)
            if page.messages:
                cursor = page.messages[-1].sequence
            if not page.is_last:
                hold = None
            elif hold is not None:
                self._broker.journal.settle()
                if not hold.is_broken:
                    self._hub.release(subscriber, topic)
                    fresh = [m for m in hold.messages if m.sequence > cursor]
                    _send(subscriber, fresh)
                    self._note(subscriber, topic, start, fresh[-1].sequence if fresh else cursor)
                    return True
            if page.is_last or replay.last - cursor < PAGE:
                hold = Hold()
        return False

    def _replay_unconsumed(self, subscriber: Subscriber, replay: Replay) -> int:
        """Send what a consumer has not consumed; the sequence from which the log goes on."""
        if not replay.is_unconsumed:
            return replay.after
        start: int | None = None
        cursor, left = 0, replay.count
        while left and self._has_room(subscriber):
            page = self._readers.read(
                partial(
                    _unconsumed_page, subscriber.consumer, replay, cursor, left, self._page_bytes
                )
            )
            _send(subscriber, page.messages, replayed_through=replay.last)
            if page.messages:
                start = page.messages[0].sequence - 1 if start is None else start
                cursor = page.messages[-1].sequence
                left -= len(page.messages)
            if page.is_last:
                break
        if start is not None:
            self._note(subscriber, replay.topic, start, cursor)
        return replay.last

    def _note(self, subscriber: Subscriber, topic: str, after: int, through: int) -> None:
        """Keep for the ledger what was sent from the log."""
        if subscriber.is_named and not subscriber.is_gone and after < through:
            self._deliveries.resent(subscriber.consumer, topic, after, through)

    def _log(self, topic: str, after: int) -> Page | None:
        """What follows a sequence; None: retention has deleted some of it by now."""

        def read(reader: Reader) -> Page | None:
            if reader.position(topic).first > after + 1:
                return None
            return reader.log(topic, after, PAGE, self._page_bytes)

        return self._readers.read(lambda reader: reader.snapshot(read))

    def _has_room(self, subscriber: Subscriber) -> bool:
        """Wait until a subscriber can take a page; one that stays full is closed as slow."""
        if subscriber.is_gone:
            return False
        if subscriber.connection.wait_drained(DRAIN_TIMEOUT):
            return not subscriber.is_gone
        subscriber.connection.close("slow")
        return False


def _nobody(consumer: str, topics: Sequence[str], at: float) -> None:
    pass


def _unconsumed_page(
    consumer: str, replay: Replay, after: int, left: int, max_bytes: int, reader: Reader
) -> Page:
    limit = min(left, PAGE)
    return reader.unconsumed(consumer, replay.topic, after, replay.last, limit, max_bytes)


def _start_of(request: Subscribe, wanted: str, topic: str) -> After | None:
    """Where a topic's replay begins; None: it is only wanted from now on.

    A pattern resumed by its topics' sequences begins at the beginning of those that came since.
    """
    after = request.after
    if not isinstance(after, Mapping):
        return after
    if topic in after:
        return after[topic]
    if wanted in after:
        return after[wanted]
    if is_pattern(wanted) and any(matches(wanted, known) for known in after):
        return "beginning"
    return None


def _is_live(subscriber: Subscriber, topic: str) -> bool:
    """Whether a connection gets a topic's messages by one of its patterns."""
    return any(is_pattern(each) and matches(each, topic) for each in subscriber.subscriptions)


def _has_all(request: Subscribe, wanted: str, plan: Plan, is_same_log: bool) -> bool:
    """Whether the log has every topic whose sequence a pattern's subscriber had come to."""
    if not is_pattern(wanted) or not isinstance(request.after, Mapping):
        return is_same_log or not isinstance(request.after, int)
    known = {position.topic for position in plan.positions[wanted]}
    return not any(
        isinstance(start, int)
        and matches(wanted, topic)
        and (not is_same_log if is_pattern(topic) else start > 0 and topic not in known)
        for topic, start in request.after.items()
    )


def _joined(position: TopicPosition, replay: Replay | None, is_same_log: bool) -> JoinedTopic:
    return JoinedTopic(
        position.topic,
        position.sequence,
        position.first,
        replay.count if replay else 0,
        replay.recovered if replay else is_same_log,
    )


def _summary(wanted: str, joined: Sequence[JoinedTopic], has_all: bool) -> JoinedTopic:
    if not is_pattern(wanted):
        return joined[0]
    return JoinedTopic(
        wanted,
        max((each.sequence for each in joined), default=0),
        min((each.first for each in joined), default=1),
        sum(each.replayed for each in joined),
        has_all and all(each.recovered for each in joined),
        joined,
    )


def _send(
    subscriber: Subscriber, messages: Sequence[Message], *, replayed_through: int = 0
) -> None:
    """Send messages to one subscriber, those up to a sequence marked as replayed."""
    if messages:
        payloads = [
            encode(message)[:-1] + b',"replayed":true}'
            if message.sequence <= replayed_through
            else encode(message)
            for message in messages
        ]
        subscriber.connection.send(Broadcast("message", payloads))
