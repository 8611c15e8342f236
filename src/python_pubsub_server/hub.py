"""Who listens to what on this node, and the one place where messages are delivered.

The hub belongs to the event loop; none of its methods waits, so each is atomic there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter

from .channels import event_of
from .model import Message, bytes_of, is_pattern, matches, patterns_of
from .runtime import Event
from .transport.broadcasts import live
from .transport.connection import Broadcast, Connection
from .transport.fanout import Fanout

MAX_AUDIENCES = 10_000
MAX_FANOUTS = 1_000
MAX_HELD = 10_000
MAX_HELD_BYTES = 16 * 2**20


class Hold:
    """Keeps what is published on a topic while a subscriber's replay reaches the present.

    Bounded: past 10,000 messages or 16 MiB it gives up (`is_broken`), and the replay reads on
    instead. One of a pattern `is_strict` if it also keeps what other subscriptions make live.
    """

    __slots__ = ("is_broken", "is_strict", "messages", "size")

    def __init__(self, *, is_strict: bool = False) -> None:
        self.messages: list[Message] = []
        self.size = 0
        self.is_broken = False
        self.is_strict = is_strict

    def add(self, messages: Sequence[Message], size: int = 0) -> None:
        """Keep messages of so many bytes."""
        self.size += size
        if len(self.messages) + len(messages) > MAX_HELD or self.size > MAX_HELD_BYTES:
            self.is_broken = True
            self.messages = []
        if not self.is_broken:
            self.messages.extend(messages)

    def take(self, max_bytes: int) -> list[Message]:
        """The oldest messages, no longer kept: one at least, then as many as the bound allows."""
        size = count = 0
        for message in self.messages:
            size += bytes_of(message)
            if count and size > max_bytes:
                size -= bytes_of(message)
                break
            count += 1
        taken = self.messages[:count]
        del self.messages[:count]
        self.size -= size
        return taken


class Subscriber:
    """A connection with its subscriptions, made when it first subscribes.

    `behind` are the topics and patterns that it is not live on yet: what is published there goes
    into their hold, or nowhere (None) while a replay is far from the present. A topic that is
    behind is so whatever patterns match it; a pattern only for topics that nothing else makes live,
    unless its hold is strict. `granted` are the subscriptions that it has without having asked.
    """

    __slots__ = (
        "behind",
        "connection",
        "consumer",
        "granted",
        "is_gone",
        "is_named",
        "subscriptions",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.consumer = f"anonymous-{connection.connection_id[:8]}"
        self.is_named = False
        self.subscriptions: dict[str, Subscription] = {}
        self.behind: dict[str, Hold | None] = {}
        self.granted: frozenset[str] = frozenset()
        self.is_gone = False


class Subscription:
    """One topic or pattern of a subscriber."""

    __slots__ = ("connected_at", "consumer", "topic")

    def __init__(self, consumer: str, topic: str, connected_at: float) -> None:
        self.consumer = consumer
        self.topic = topic
        self.connected_at = connected_at


class Audience:
    """Who gets a topic's messages now: the live connections, and the holds of those that replay."""

    __slots__ = ("event", "fanout", "holds")

    def __init__(self, event: str, fanout: Fanout, holds: tuple[Hold, ...]) -> None:
        self.event = event
        self.fanout = fanout
        self.holds = holds


class Hub:
    def __init__(self) -> None:
        self._exact: dict[str, dict[Subscriber, None]] = {}
        self._patterns: dict[str, dict[Subscriber, None]] = {}
        self._audiences: dict[str, Audience] = {}
        self._fanouts: dict[tuple[Connection, ...], Fanout] = {}
        self._subscribers: dict[str, Subscriber] = {}
        self._bells: dict[str, list[Event]] = {}
        self.deliveries = 0
        self.changes = 0  # of subscriptions
        self.on_change: Callable[[], None] = lambda: None

    def subscriber(self, connection_id: str) -> Subscriber | None:
        return self._subscribers.get(connection_id)

    def add(self, connection: Connection) -> Subscriber:
        """The subscriber of a connection, made the first time; anonymous until it has a name."""
        subscriber = self._subscribers.get(connection.connection_id)
        if subscriber is None:
            subscriber = self._subscribers[connection.connection_id] = Subscriber(connection)
        return subscriber

    def join(self, subscriber: Subscriber, topic: str, at: float) -> None:
        """Deliver a topic, or every topic of a pattern, to a subscriber from now on."""
        if subscriber.is_gone:
            return
        index = self._patterns if is_pattern(topic) else self._exact
        index.setdefault(topic, {})[subscriber] = None
        subscriber.subscriptions.pop(topic, None)
        subscriber.subscriptions[topic] = Subscription(subscriber.consumer, topic, at)
        self._changed(topic)
        self._tell_change()

    def leave(self, subscriber: Subscriber, topics: Iterable[str] | None = None) -> list[str]:
        """End subscriptions (None: all of them); those that there were."""
        left = []
        for topic in list(subscriber.subscriptions if topics is None else topics):
            if subscriber.subscriptions.pop(topic, None) is None:
                continue
            subscriber.behind.pop(topic, None)
            if topic in subscriber.granted:
                subscriber.granted -= {topic}
            index = self._patterns if is_pattern(topic) else self._exact
            members = index[topic]
            del members[subscriber]
            if not members:
                del index[topic]
            self._changed(topic)
            left.append(topic)
        if left:
            self._tell_change()
        return left

    def disconnect(self, connection_id: str) -> list[str]:
        """Forget a connection; the topics it was subscribed to."""
        subscriber = self._subscribers.pop(connection_id, None)
        if subscriber is None:
            return []
        left = self.leave(subscriber)
        subscriber.is_gone = True
        subscriber.behind.clear()
        return left

    def hold_back(self, subscriber: Subscriber, topic: str, hold: Hold | None) -> None:
        """Stop live delivery of a topic or pattern to a subscriber; the hold gets what is new."""
        if not subscriber.is_gone:
            subscriber.behind[topic] = hold
            self._changed(topic)

    def release(self, subscriber: Subscriber, topic: str) -> None:
        """Deliver a topic or pattern live again."""
        if topic in subscriber.behind:
            del subscriber.behind[topic]
            self._changed(topic)

    def deliver(self, messages: Sequence[Message]) -> None:
        """Send committed messages to whom they concern, in their order, once each.

        All that one set of connections gets of a batch leaves in one piece.
        """
        batches: dict[Fanout, list[tuple[str, list[Message]]]] = {}
        for topic, run in groupby(messages, key=attrgetter("topic")):
            audience = self._audience(topic)
            published = list(run)
            for bell in self._bells.get(topic, ()):
                bell.set()
            if audience.holds:
                size = sum(map(bytes_of, published))
                for hold in audience.holds:
                    hold.add(published, size)
            if audience.fanout.connections:
                parts = batches.setdefault(audience.fanout, [])
                if parts and parts[-1][0] == audience.event:
                    parts[-1][1].extend(published)
                else:
                    parts.append((audience.event, published))
        for fanout, parts in batches.items():
            for event, sent in parts:
                fanout.send(live(event, sent))
                self.deliveries += len(sent) * len(fanout.connections)

    def tell(self, topic: str, broadcast: Broadcast) -> None:
        """Send something that is not a message of the log to a topic's subscribers, once each."""
        for subscriber in self.subscribers(topic):
            subscriber.connection.send(broadcast)

    @property
    def listeners(self) -> int:
        """How many wait for a bell."""
        return sum(map(len, self._bells.values()))

    @contextmanager
    def bell(self, topic: str, event: Event) -> Iterator[Event]:
        """Set an event at the next delivery on a topic."""
        bells = self._bells.setdefault(topic, [])
        bells.append(event)
        try:
            yield event
        finally:
            bells.remove(event)
            if not bells:
                self._bells.pop(topic, None)

    def backlog(self, messages: Sequence[Message]) -> int:
        """The most bytes that wait for one of those who were sent some messages."""
        audiences = [self._audience(topic) for topic in {m.topic for m in messages}]
        return max((c.backlog for a in audiences for c in a.fanout.connections), default=0)

    def cut_off(self, reason: str) -> None:
        """Close every subscriber's connection, so that it resumes from the log."""
        for subscriber in list(self._subscribers.values()):
            subscriber.connection.close(reason)

    def ring(self) -> None:
        """Set every bell: who waits for a delivery shall not wait any more."""
        for bells in self._bells.values():
            for bell in bells:
                bell.set()

    def subscriptions(self) -> list[Subscription]:
        """Every live subscription, newest first."""
        return sorted(
            (
                subscription
                for subscriber in self._subscribers.values()
                for subscription in subscriber.subscriptions.values()
            ),
            key=attrgetter("connected_at"),
            reverse=True,
        )

    def subscription_count(self) -> int:
        return sum(len(subscriber.subscriptions) for subscriber in self._subscribers.values())

    def subscribers(self, topic: str) -> list[Subscriber]:
        """Who is subscribed to a topic, by itself or by a pattern; each once."""
        return list(dict.fromkeys(s for _, members in self._covering(topic) for s in members))

    def subscribed(self) -> Iterator[Subscriber]:
        """Every connection that has subscribed to something at some time."""
        return iter(self._subscribers.values())

    def count(self, topic: str) -> int:
        """How many connections are subscribed to a topic, those that still replay it included."""
        return len({s.connection for _, members in self._covering(topic) for s in members})

    def _audience(self, topic: str) -> Audience:
        audience = self._audiences.get(topic)
        if audience is None:
            if len(self._audiences) >= MAX_AUDIENCES:
                self._audiences.clear()
            audience = self._audiences[topic] = self._resolve(topic)
        return audience

    def _resolve(self, topic: str) -> Audience:
        live: dict[Connection, None] = {}
        held: dict[Connection, Hold | None] = {}
        strict: dict[Connection, Hold] = {}
        for subscription, members in self._covering(topic):
            for subscriber in members:
                if topic in subscriber.behind:
                    held[subscriber.connection] = subscriber.behind[topic]
                elif subscription in subscriber.behind:
                    hold = subscriber.behind[subscription]
                    if hold is not None and hold.is_strict:
                        strict[subscriber.connection] = hold
                    held[subscriber.connection] = hold
                else:
                    live[subscriber.connection] = None
        for connection, hold in strict.items():
            live.pop(connection, None)
            held[connection] = hold
        holds = tuple(h for c, h in held.items() if h is not None and c not in live)
        return Audience(event_of(topic), self._fanout(tuple(live)), holds)

    def _covering(self, topic: str) -> Iterator[tuple[str, dict[Subscriber, None]]]:
        """The topic and the patterns that cover it, with who subscribed to each."""
        if topic in self._exact:
            yield topic, self._exact[topic]
        if self._patterns:
            for pattern in patterns_of(topic):
                if pattern in self._patterns:
                    yield pattern, self._patterns[pattern]

    def _fanout(self, connections: tuple[Connection, ...]) -> Fanout:
        """One object for equal sets, so that topics with the same audience are seen as such."""
        if len(self._fanouts) > MAX_FANOUTS:
            self._fanouts.clear()
        fanout = self._fanouts.get(connections)
        if fanout is None:
            fanout = self._fanouts[connections] = Fanout(connections)
        return fanout

    def _tell_change(self) -> None:
        self.changes += 1
        self.on_change()

    def _changed(self, topic: str) -> None:
        if is_pattern(topic):
            for cached in [known for known in self._audiences if matches(topic, known)]:
                del self._audiences[cached]
        else:
            self._audiences.pop(topic, None)
