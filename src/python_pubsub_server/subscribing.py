"""Joining topics: from the first missed message into the live stream, without gap or duplicate.

New topics are held back while it is read where they stand; then they are live, or replayed first.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from . import logs
from .broker import Broker
from .deliveries import Deliveries
from .errors import Invalid, Unavailable
from .feed import Feed
from .hub import Hold, Subscriber
from .identity import Identity
from .joined import Subscribed, joined_topics
from .missed import Missing, Plan, start_of
from .model import Interest, Message, is_pattern, matches
from .replaying import Replaying
from .transport.connection import Broadcast, Connection
from .wire import MAX_SUBSCRIPTIONS, Subscribe, encode

MAX_KNOWN_INTERESTS = 100_000
MAX_TRIES = 10


class Subscribing:
    """The use case of subscribing. Keeps in mind which interests are stored already."""

    def __init__(
        self,
        broker: Broker,
        feed: Feed,
        deliveries: Deliveries,
        epoch: str,
        *,
        replay_limit: int,
        page_bytes: int = 2**20,
    ) -> None:
        self._broker = broker
        self._feed = feed
        self._deliveries = deliveries
        self._hub = broker.hub
        self._readers = broker.readers
        self._epoch = epoch
        self._missing = Missing(epoch, replay_limit)
        self._replaying = Replaying(broker, feed, deliveries, page_bytes)
        self._known: OrderedDict[Interest, None] = OrderedDict()
        self.on_limit: Callable[[str], None] = _unlimited
        self.on_join: Callable[[str, Sequence[str], float], None] = _nobody
        self.on_leave: Callable[[str, Sequence[str], float], None] = _nobody

    def subscribe(
        self, identity: Identity, connection: Connection, request: Subscribe
    ) -> Subscribed:
        """Join topics; returns when every missed message is on its way and the rest is live.

        The event `subscribed` goes out before the first message. Nothing is joined when one of
        the topics may not be. Raises Forbidden, Invalid, Unavailable.
        """
        _check(identity, request)
        subscriber = self._subscriber(identity, connection, request)
        new = [topic for topic in request.topics if topic not in subscriber.subscriptions]
        own = len(subscriber.subscriptions) - len(subscriber.granted)
        if own + len(new) > MAX_SUBSCRIPTIONS:
            self.on_limit("subscriptions")
            raise Invalid(f"A connection may have {MAX_SUBSCRIPTIONS} subscriptions at most")
        if request.inbox is not None:
            subscriber.granted |= set(new)
        elif subscriber.granted:
            subscriber.granted -= set(request.topics)
        plan, holds = self._join(subscriber, request, new)
        if request.inbox is not None:
            plan = _joined_before(plan, holds)
        topics = joined_topics(request, plan, is_same_log=self._missing.is_same_log(request))
        answer = Subscribed("ok", self._epoch, subscriber.consumer, topics)
        if request.inbox is None or not all(topic.recovered for topic in topics):
            connection.send(Broadcast("subscribed", [encode(answer)]))
        self._begin(subscriber, request, plan)
        try:
            self._go_live(subscriber, plan, holds)
        except BaseException:
            connection.close("replay failed")  # half a replay must not look like a whole one
            raise
        logs.event(logging.DEBUG, "subscribed", consumer=subscriber.consumer, topics=request.topics)
        return answer

    def unsubscribe(self, connection: Connection, topics: Sequence[str] | None) -> list[str]:
        """Leave topics (None: all that it asked for); those that it was subscribed to."""
        subscriber = self._hub.subscriber(connection.connection_id)
        if subscriber is None:
            return []
        if topics is None:
            topics = [t for t in subscriber.subscriptions if t not in subscriber.granted]
        left = self._hub.leave(subscriber, topics)
        self._deliveries.end(connection.connection_id, left)
        self.on_leave(subscriber.consumer, left, self._broker.clock.now())
        return left

    def narrow(self, identity: Identity, connection: Connection) -> list[str]:
        """Leave what a connection may not be subscribed to any more; those topics."""
        subscriber = self._hub.subscriber(connection.connection_id)
        lost = (
            [t for t in subscriber.subscriptions if not identity.may_subscribe(t)]
            if subscriber
            else []
        )
        return self.unsubscribe(connection, lost) if lost else []

    def disconnect(self, connection: Connection) -> list[str]:
        """Forget a connection that has ended; the topics it was subscribed to."""
        self._deliveries.disconnect(connection.connection_id, connection.stalled_at)
        subscriber = self._hub.subscriber(connection.connection_id)
        left = self._hub.disconnect(connection.connection_id)
        if subscriber is not None:
            self.on_leave(subscriber.consumer, left, self._broker.clock.now())
        return left

    def _subscriber(
        self, identity: Identity, connection: Connection, request: Subscribe
    ) -> Subscriber:
        """The connection's subscriber; a name given before stays until another one is given."""
        subscriber = self._hub.add(connection)
        if not (subscriber.is_named or identity.owns(subscriber.consumer)):
            subscriber.consumer = f"{identity.subject}/{subscriber.consumer}"
        if request.consumer is not None:
            subscriber.consumer = request.consumer
            subscriber.is_named = True
        if not subscriber.is_named and request.inbox is None:
            if not request.is_short:
                raise Invalid("Missing required field: consumer")
            starts = request.after.values() if isinstance(request.after, Mapping) else ()
            if "consumed" in (request.after, *starts):
                raise Invalid('`after: "consumed"` needs a `consumer`')
        return subscriber

    def _remember(self, consumer: str, topics: Sequence[str], *, from_start: bool = False) -> None:
        """Store that a consumer wants these topics, before it is told that it has them."""
        interests = [Interest(consumer, topic, from_start) for topic in topics]
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

        A topic that is live already stays so, unless it begins anew with `after`: then what is
        published from now on comes behind the replay, and not before it as well.
        """
        anew = {topic for topic in request.topics if start_of(request, topic, topic) is not None}
        held = anew | {topic for topic in new if not _is_live(subscriber, topic)}
        try:
            return self._read_plan(subscriber, request, held, anew)
        except BaseException:
            self._hub.leave(subscriber, new)
            for topic in held:
                self._hub.release(subscriber, topic)
            if any(_overlap(topic, other) for topic in anew for other in subscriber.subscriptions):
                subscriber.connection.close("subscribe failed")  # it should have got what was held
            raise

    def _read_plan(
        self, subscriber: Subscriber, request: Subscribe, held: set[str], anew: set[str]
    ) -> tuple[Plan, Mapping[str, Hold]]:
        """Tried again where more was published during the reading than a hold keeps."""
        now = self._broker.clock.now()
        consumer = request.inbox or subscriber.consumer
        for tried in range(MAX_TRIES):
            holds = {topic: Hold(is_strict=topic in anew) for topic in held}
            for topic, hold in holds.items():
                self._hub.hold_back(subscriber, topic, hold)
            for topic in request.topics if tried == 0 else ():
                self._hub.join(subscriber, topic, now)
            if subscriber.is_named or request.inbox is not None:
                self._remember(consumer, request.topics, from_start=request.inbox is not None)
            plan = self._readers.read(
                lambda reader: reader.snapshot(lambda r: self._missing.plan(r, request, consumer))
            )
            # What the plan has seen is not live any more: all of it is delivered, or held, by now.
            self._feed.settle(plan.position)
            if not any(hold.is_broken for hold in holds.values()):
                return plan, holds
        raise Unavailable("Too much is published on these topics to join them now; try again")

    def _begin(self, subscriber: Subscriber, request: Subscribe, plan: Plan) -> None:
        """Stop what is to be replayed, and tell who wants to know that the others are live."""
        for replay in plan.replays.values():
            if replay.count:
                self._hub.hold_back(subscriber, replay.topic, None)
        if subscriber.is_gone:
            return
        self.on_join(subscriber.consumer, request.topics, self._broker.clock.now())
        losses = [replay.loss for replay in plan.replays.values() if replay.loss is not None]
        self._deliveries.told([loss for loss in losses if loss.total > loss.told])
        if not subscriber.is_named:
            return
        behind = {
            topic
            for topic, found in plan.positions.items()
            if any(p.topic in plan.replays and plan.replays[p.topic].count for p in found)
        }
        self._deliveries.begin(
            subscriber.connection.connection_id,
            subscriber.consumer,
            request.topics,
            plan.position,
            behind,
        )

    def _go_live(self, subscriber: Subscriber, plan: Plan, holds: Mapping[str, Hold]) -> None:
        """Hand over what was held since the positions were read, and replay what was missed."""
        behind = {replay.topic for replay in plan.replays.values() if replay.count}
        for topic in holds.keys() - behind:
            known = {p.topic: p.sequence for p in plan.positions[topic]}

            def is_wanted(message: Message, known: Mapping[str, int] = known) -> bool:
                is_new = message.sequence > known.get(message.topic, 0)
                return is_new and message.topic not in behind

            is_live, _ = self._replaying.hand_over(subscriber, topic, holds[topic], is_wanted)
            if not is_live:
                subscriber.connection.close("slow")
                return
        replays = [replay for replay in plan.replays.values() if replay.count]
        if all(self._replaying.catch_up(subscriber, replay) for replay in replays):
            self._deliveries.caught_up(subscriber.connection.connection_id)


def _unlimited(limit: str) -> None:
    pass


def _nobody(consumer: str, topics: Sequence[str], at: float) -> None:
    pass


def _check(identity: Identity, request: Subscribe) -> None:
    for topic in request.topics:
        identity.check_subscribe(topic)
    if request.consumer is not None:
        identity.check_name(request.consumer, "consumer")


def _joined_before(plan: Plan, holds: Mapping[str, Hold]) -> Plan:
    """The plan of who believes to have joined when it began: what came since is not a replay."""
    replays = {
        topic: structs.replace(replay, live_from=hold.messages[0].sequence)
        if (hold := holds.get(topic)) is not None and hold.messages
        else replay
        for topic, replay in plan.replays.items()
    }
    return structs.replace(plan, replays=replays)


def _is_live(subscriber: Subscriber, topic: str) -> bool:
    """Whether a connection gets a topic's messages by one of its patterns."""
    return any(is_pattern(each) and matches(each, topic) for each in subscriber.subscriptions)


def _overlap(one: str, other: str) -> bool:
    """Whether a topic may be covered by both of two topics or patterns."""
    if is_pattern(one) and is_pattern(other):
        return one.startswith(other[:-1]) or other.startswith(one[:-1])
    return matches(one, other) or matches(other, one)
