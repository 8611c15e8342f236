from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from connections import Someone
from python_pubsub_server import hub as hub_module
from python_pubsub_server.hub import MAX_HELD, MAX_HELD_BYTES, Hold, Hub, Subscriber
from python_pubsub_server.model import Message, bytes_of, matches
from python_pubsub_server.transport.connection import Broadcast


class Listener(Someone):
    """A connection that keeps what it is sent."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.broadcasts: list[Broadcast] = []

    def send(self, broadcast: Broadcast) -> None:
        self.broadcasts.append(broadcast)

    def close(self, reason: str) -> None:
        raise AssertionError("nobody closes this")

    @property
    def heard(self) -> list[tuple[str, int]]:
        messages = [json.loads(each) for cast in self.broadcasts for each in cast.payloads]
        return [(message["topic"], message["sequence"]) for message in messages]


class Story:
    """A hub with its log's sequences, spoken to in short sentences."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.sequences: dict[str, int] = defaultdict(int)
        self.now = 0.0

    def connect(self, name: str, *topics: str) -> tuple[Listener, Subscriber]:
        listener = Listener(name)
        subscriber = self.hub.add(listener)
        self.join(subscriber, *topics)
        return listener, subscriber

    def join(self, subscriber: Subscriber, *topics: str) -> None:
        for topic in topics:
            self.now += 1
            self.hub.join(subscriber, topic, self.now)

    def publish(self, *topics: str) -> list[Message]:
        messages = []
        for topic in topics:
            self.sequences[topic] += 1
            sequence = self.sequences[topic]
            messages.append(Message(topic, "m", Raw(b"1"), "p", 1.0, sequence))
        self.hub.deliver(messages)
        return messages


@pytest.fixture
def story() -> Story:
    return Story()


# Who gets what


def test_a_message_goes_to_its_subscribers_only(story: Story) -> None:
    ann, _ = story.connect("ann", "a")
    bob, _ = story.connect("bob", "b")
    story.publish("a", "c")
    assert ann.heard == [("a", 1)]
    assert bob.broadcasts == []


def test_each_message_comes_once_however_many_subscriptions_match(story: Story) -> None:
    ann, subscriber = story.connect("ann", "abc", "*", "a*", "ab*", "abc*")
    story.join(subscriber, "abc", "a*")
    story.publish("abc", "abc", "abd")
    assert ann.heard == [("abc", 1), ("abc", 2), ("abd", 1)]


def test_a_star_leaves_out_the_servers_own_topics(story: Story) -> None:
    everything, _ = story.connect("everything", "*")
    own, _ = story.connect("own", "$*")
    exact, _ = story.connect("exact", "$stats")
    story.publish("$stats", "a")
    assert everything.heard == [("a", 1)]
    assert own.heard == exact.heard == [("$stats", 1)]


def test_the_payload_is_the_message_of_the_protocol(story: Story) -> None:
    ann, _ = story.connect("ann", "a")
    story.publish("a")
    (broadcast,) = ann.broadcasts
    assert broadcast.event == "message"
    assert json.loads(broadcast.payloads[0]) == {
        "topic": "a",
        "message_id": "m",
        "message": 1,
        "producer": "p",
        "timestamp": 1.0,
        "sequence": 1,
    }


def test_a_batch_keeps_the_order_of_each_topic(story: Story) -> None:
    both, _ = story.connect("both", "a", "b")
    ann, _ = story.connect("ann", "a")
    story.publish("a", "b", "a", "a", "b")
    assert [sequence for topic, sequence in both.heard if topic == "a"] == [1, 2, 3]
    assert [sequence for topic, sequence in both.heard if topic == "b"] == [1, 2]
    assert ann.heard == [("a", 1), ("a", 2), ("a", 3)]


def test_a_batch_is_one_broadcast_for_all_who_get_the_same(story: Story) -> None:
    listeners = [story.connect(name, "a", "b")[0] for name in "xyz"]
    story.publish("a", "b", "a", "c", "b")
    assert len({id(listener.broadcasts[0]) for listener in listeners}) == 1
    assert all(len(listener.broadcasts) == 1 for listener in listeners)
    assert listeners[0].heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_deliveries_are_counted(story: Story) -> None:
    for name in "xyz":
        story.connect(name, "a")
    story.connect("w", "*")
    story.publish("a", "a", "b", "$c")
    assert story.hub.deliveries == 2 * 4 + 1


# Leaving


def test_nothing_comes_after_leaving(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a", "b*")
    story.publish("a", "b1")
    assert story.hub.leave(subscriber, ["a", "b*", "never"]) == ["a", "b*"]
    story.publish("a", "b1")
    assert sorted(ann.heard) == [("a", 1), ("b1", 1)]
    assert story.hub.leave(subscriber, ["a"]) == []


def test_leaving_one_of_two_that_match_changes_nothing(story: Story) -> None:
    ann, subscriber = story.connect("ann", "ab", "a*")
    story.hub.leave(subscriber, ["ab"])
    story.publish("ab")
    story.join(subscriber, "ab")
    story.hub.leave(subscriber, ["a*"])
    story.publish("ab")
    assert ann.heard == [("ab", 1), ("ab", 2)]


def test_leaving_everything(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a", "*")
    assert story.hub.leave(subscriber) == ["a", "*"]
    story.publish("a")
    assert ann.broadcasts == []
    assert not subscriber.is_gone


def test_a_disconnected_one_is_forgotten_for_good(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a", "b*")
    hold = Hold()
    story.hub.hold_back(subscriber, "a", hold)
    assert story.hub.disconnect("ann") == ["a", "b*"]
    assert subscriber.is_gone
    story.join(subscriber, "a")
    story.hub.hold_back(subscriber, "a", hold)
    story.publish("a", "b1")
    assert ann.broadcasts == []
    assert hold.messages == []
    assert story.hub.subscriptions() == []
    assert story.hub.subscriber("ann") is None
    assert story.hub.disconnect("ann") == []


def test_a_connection_that_ends_while_a_batch_is_sent_stops_nobody_else(story: Story) -> None:
    class Ending(Listener):
        def send(self, broadcast: Broadcast) -> None:
            story.hub.disconnect(self.connection_id)

    story.join(story.hub.add(Ending("ending")), "a", "b*")
    ann, _ = story.connect("ann", "a", "b*", "c")
    story.publish("a", "c", "b1")
    assert sorted(ann.heard) == [("a", 1), ("b1", 1), ("c", 1)]
    assert story.hub.count("a") == 1


# What is seen of it


def test_subscriptions_are_listed_newest_first(story: Story) -> None:
    _, ann = story.connect("ann", "a", "b*")
    story.connect("bob", "c")
    story.join(ann, "a")
    seen = [(each.consumer, each.topic, each.connected_at) for each in story.hub.subscriptions()]
    assert seen == [
        ("anonymous-ann", "a", 4),
        ("anonymous-bob", "c", 3),
        ("anonymous-ann", "b*", 2),
    ]


def test_a_subscriber_stays_the_same_and_is_anonymous_until_named(story: Story) -> None:
    listener, subscriber = story.connect("0123456789abcdef")
    assert story.hub.add(listener) is subscriber
    assert subscriber.consumer == "anonymous-01234567"
    assert not subscriber.is_named


def test_the_subscribers_of_a_topic_are_counted_once_each(story: Story) -> None:
    _, ann = story.connect("ann", "ab", "a*", "*")
    story.connect("bob", "a*")
    assert [story.hub.count(topic) for topic in ("ab", "a", "b", "$a")] == [2, 2, 1, 0]
    story.hub.hold_back(ann, "ab", Hold())
    assert story.hub.count("ab") == 2


# Holding back


def test_a_held_topic_goes_into_its_hold_and_nowhere_else(story: Story) -> None:
    ann, subscriber = story.connect("ann", "ab", "a*")
    bob, _ = story.connect("bob", "ab")
    hold = Hold()
    story.hub.hold_back(subscriber, "ab", hold)
    held = story.publish("ab", "ac", "ab")
    assert hold.messages == [held[0], held[2]]
    assert ann.heard == [("ac", 1)]
    assert bob.heard == [("ab", 1), ("ab", 2)]
    story.hub.release(subscriber, "ab")
    story.publish("ab")
    assert len(hold.messages) == 2
    assert ann.heard == [("ac", 1), ("ab", 3)]


def test_far_from_the_present_nothing_is_kept(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a")
    story.hub.hold_back(subscriber, "a", None)
    story.publish("a")
    hold = Hold()
    story.hub.hold_back(subscriber, "a", hold)
    story.publish("a")
    assert ann.broadcasts == []
    assert [message.sequence for message in hold.messages] == [2]


def test_a_held_pattern_holds_only_what_nothing_else_makes_live(story: Story) -> None:
    ann, subscriber = story.connect("ann", "ab", "a*")
    hold = Hold()
    story.hub.hold_back(subscriber, "a*", hold)
    _, held = story.publish("ab", "ac")
    assert ann.heard == [("ab", 1)]
    assert hold.messages == [held]


def test_of_two_held_patterns_one_gets_a_message(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a*", "ab*")
    wide, narrow = Hold(), Hold()
    story.hub.hold_back(subscriber, "a*", wide)
    story.hub.hold_back(subscriber, "ab*", narrow)
    story.publish("abc", "ac")
    assert [message.topic for message in wide.messages] == ["ac"]
    assert [message.topic for message in narrow.messages] == ["abc"]
    assert ann.broadcasts == []


def test_a_topic_is_held_although_a_pattern_came_later(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a")
    hold = Hold()
    story.hub.hold_back(subscriber, "a", hold)
    story.join(subscriber, "*")
    story.publish("a")
    assert ann.broadcasts == []
    assert len(hold.messages) == 1


def test_a_strict_hold_also_keeps_what_another_subscription_makes_live(story: Story) -> None:
    ann, subscriber = story.connect("ann", "ab", "a*", "*")
    bob, _ = story.connect("bob", "ab")
    strict, loose = Hold(is_strict=True), Hold()
    story.hub.hold_back(subscriber, "a*", strict)
    story.hub.hold_back(subscriber, "*", loose)
    held = story.publish("ab", "b", "ac")
    assert (strict.messages, loose.messages) == ([held[0], held[2]], [held[1]])
    assert ann.heard == []
    assert bob.heard == [("ab", 1)]
    story.hub.release(subscriber, "a*")
    story.publish("ab")
    assert ann.heard == [("ab", 2)]


def test_leaving_ends_the_hold(story: Story) -> None:
    ann, subscriber = story.connect("ann", "a")
    hold = Hold()
    story.hub.hold_back(subscriber, "a", hold)
    story.hub.leave(subscriber, ["a"])
    story.publish("a")
    story.join(subscriber, "a")
    story.publish("a")
    assert hold.messages == []
    assert ann.heard == [("a", 2)]


def test_a_hold_that_gets_too_much_breaks_and_keeps_nothing() -> None:
    message = Message("a", "m", Raw(b"1"), "p", 1.0, 1)
    hold = Hold()
    hold.add([message] * (MAX_HELD - 1))
    hold.add([message])
    assert (hold.is_broken, len(hold.messages)) == (False, MAX_HELD)
    hold.add([message])
    assert (hold.is_broken, hold.messages) == (True, [])
    hold.add([message])
    assert (hold.is_broken, hold.messages) == (True, [])


def test_a_hold_of_large_messages_breaks_by_their_bytes() -> None:
    message = Message("a", "m", Raw(b"1" * 1_000), "p", 1.0, 1)
    hold = Hold()
    size = bytes_of(message)
    hold.add([message], size)
    hold.add([message], MAX_HELD_BYTES - size)
    assert not hold.is_broken
    hold.take(1)
    hold.add([message], size)
    assert not hold.is_broken
    hold.add([message], 1)
    assert hold.is_broken


@pytest.mark.parametrize(("max_bytes", "taken"), [(1, 1), (2_399, 1), (2_400, 2), (10_000, 3)])
def test_what_is_taken_from_a_hold_is_bounded_but_something(max_bytes: int, taken: int) -> None:
    messages = [Message("a", "m", Raw(b"1" * 1_000), "p", 1.0, n) for n in (1, 2, 3)]
    hold = Hold()
    hold.add(messages, sum(map(bytes_of, messages)))
    assert hold.take(max_bytes) == messages[:taken]
    assert (hold.messages, hold.size) == (messages[taken:], 1_200 * (3 - taken))
    hold.take(10_000)
    assert hold.take(10_000) == []


# Everything at random, beside a model that remembers no audience

TOPICS = ["a", "ab", "$a"]
SUBSCRIPTIONS = [*TOPICS, "*", "a*", "$*"]
NAMES = ["x", "y"]

names = st.sampled_from(NAMES)
subscriptions = st.sampled_from(SUBSCRIPTIONS)


class Wanted:
    """What one connection must have got: the naive way."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.behind: dict[str, list[Message] | None] = {}
        self.heard: dict[str, list[int]] = defaultdict(list)

    def get(self, message: Message) -> None:
        covering = [each for each in self.topics if matches(each, message.topic)]
        if not covering:
            return
        if message.topic in self.behind:
            kept = self.behind[message.topic]
        elif all(each in self.behind for each in covering):
            kept = self.behind[max(covering, key=len)]
        else:
            self.heard[message.topic].append(message.sequence)
            return
        if kept is not None:
            kept.append(message)


class AnyStory(RuleBasedStateMachine):
    """Everything is published on after each step, so that nothing stale stays unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[Any] = []
        self.story = Story()
        self.connections: dict[str, tuple[Listener, Subscriber]] = {}
        self.wanted: dict[str, Wanted] = {}
        self.holds: list[tuple[Hold, list[Message]]] = []

    @initialize(size=st.sampled_from([2, 1_000]))
    def keep(self, size: int) -> None:
        """With caches that keep everything, or so small that they are emptied all the time."""
        for name in ("MAX_AUDIENCES", "MAX_FANOUTS"):
            self.patches.append(patch.object(hub_module, name, size))
            self.patches[-1].start()

    def teardown(self) -> None:
        for each in self.patches:
            each.stop()

    def subscriber(self, name: str) -> Subscriber:
        if name not in self.connections:
            self.connections[name] = self.story.connect(name)
            self.wanted[name] = Wanted()
        return self.connections[name][1]

    @rule(name=names, topic=subscriptions)
    def join(self, name: str, topic: str) -> None:
        self.story.join(self.subscriber(name), topic)
        self.wanted[name].topics.add(topic)

    @rule(name=names, topic=subscriptions)
    def leave(self, name: str, topic: str) -> None:
        left = self.story.hub.leave(self.subscriber(name), [topic])
        wanted = self.wanted[name]
        assert left == ([topic] if topic in wanted.topics else [])
        if left:
            wanted.topics.remove(topic)
            wanted.behind.pop(topic, None)

    @rule(name=names)
    def leave_everything(self, name: str) -> None:
        left = self.story.hub.leave(self.subscriber(name))
        wanted = self.wanted[name]
        assert set(left) == wanted.topics
        for topic in left:
            wanted.behind.pop(topic, None)
        wanted.topics.clear()

    @rule(name=names)
    def disconnect(self, name: str) -> None:
        self.check()
        self.story.hub.disconnect(name)
        self.connections.pop(name, None)
        self.wanted.pop(name, None)

    @rule(name=names, topic=subscriptions, is_kept=st.booleans())
    def hold_back(self, name: str, topic: str, is_kept: bool) -> None:
        hold, kept = Hold(), list[Message]()
        self.holds.append((hold, kept))
        self.story.hub.hold_back(self.subscriber(name), topic, hold if is_kept else None)
        self.wanted[name].behind[topic] = kept if is_kept else None

    @rule(name=names, topic=subscriptions)
    def release(self, name: str, topic: str) -> None:
        self.story.hub.release(self.subscriber(name), topic)
        self.wanted[name].behind.pop(topic, None)

    @rule(topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=8))
    def publish_a_batch(self, topics: list[str]) -> None:
        self.publish(topics)

    def publish(self, topics: list[str]) -> None:
        for message in self.story.publish(*topics):
            for wanted in self.wanted.values():
                wanted.get(message)

    @rule(topic=st.sampled_from(TOPICS))
    def look(self, topic: str) -> None:
        live = [w for w in self.wanted.values() if any(matches(t, topic) for t in w.topics)]
        assert self.story.hub.count(topic) <= len(live)

    @precondition(lambda self: self.connections)
    @invariant()
    def check(self) -> None:
        self.publish(TOPICS)
        for name, (listener, _) in self.connections.items():
            heard: dict[str, list[int]] = defaultdict(list)
            for topic, sequence in listener.heard:
                heard[topic].append(sequence)
            assert heard == self.wanted[name].heard
        for hold, kept in self.holds:
            assert hold.messages == kept


def _settings(case: Any) -> Any:
    case.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
    return case


TestAnyStory = _settings(AnyStory.TestCase)
