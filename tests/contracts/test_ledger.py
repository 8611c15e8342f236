"""What every database can tell of who was sent a message and who consumed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from python_pubsub_server.model import Claim, Interest, Resent, SpanEnd, SpanStart
from python_pubsub_server.storage.database import Batch, Here, Retention
from python_pubsub_server.storage.sql_ledger import LOST_SECONDS
from stories import Storage, draft

NODE = "here"


class Story:
    """A node on a database: who is live, what was sent, and what the ledger says of it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.delivered = 0
        self.spans: dict[tuple[str, str], int] = {}
        self.at = 1_000.0
        self._next = 0

    def publish(self, topic: str = "news", at: float | None = None) -> int:
        """Commit a message, then deliver it; its sequence."""
        self.at = self.at + 1 if at is None else at
        self._next += 1
        one = draft(topic, f"m{self._next}")
        committed = self.commit(drafts=[one], arrived_at=[self.at])
        self.delivered = committed.position
        return int(committed.published[0].message.sequence)

    def commit(self, node: str = NODE, **more: Any) -> Any:
        here = Here(node, self.delivered)
        return self.storage.writer.commit(Batch(self.at, here=here, **more))

    def subscribe(self, consumer: str, topic: str = "news", node: str = NODE) -> None:
        self._next += 1
        span = self.spans[consumer, topic] = self._next
        start = SpanStart(span, node, consumer, topic, self.delivered, self.at)
        self.commit(node, interests=[Interest(consumer, topic)], deliveries=[start])

    def end(
        self, consumer: str, reason: str, stalled_at: float | None = None, topic: str = "news"
    ) -> None:
        span = self.spans.pop((consumer, topic))
        self.commit(deliveries=[SpanEnd(span, self.delivered, self.at, reason, stalled_at)])

    def resend(self, consumer: str, after: int, through: int, topic: str = "news") -> None:
        self.commit(deliveries=[Resent(consumer, topic, after, through, self.at)])

    def consume(self, consumer: str, sequence: int, topic: str = "news") -> None:
        message = self.storage.log(topic, sequence - 1, 1)[0]
        self.commit(claims=[Claim(consumer, topic, message.message_id, sequence)])

    def ledger(self, sequence: int, topic: str = "news") -> dict[str, tuple[Any, Any]]:
        """Consumer: delivered, consumed."""
        ledger = self.storage.reader.ledger(topic, sequence, Here(NODE, self.delivered))
        assert ledger is not None
        assert (ledger.message.topic, ledger.message.sequence) == (topic, sequence)
        assert [one.consumer for one in ledger.consumers] == sorted(
            one.consumer for one in ledger.consumers
        )
        return {one.consumer: (one.delivered_at, one.consumed_at) for one in ledger.consumers}

    def pending(self, sequence: int, topic: str = "news") -> list[str]:
        ledger = self.storage.reader.ledger(topic, sequence, Here(NODE, self.delivered))
        assert ledger is not None
        return ledger.pending

    def verdict(self, sequence: int, consumer: str = "carl", topic: str = "news") -> str:
        return self.explain(sequence, consumer, topic).verdict

    def explain(self, sequence: int, consumer: str = "carl", topic: str = "news") -> Any:
        here = Here(NODE, self.delivered)
        explanation = self.storage.reader.explain(topic, sequence, consumer, here)
        assert explanation.detail
        return explanation


@pytest.fixture
def story(storage: Storage) -> Story:
    return Story(storage)


def test_a_live_consumer_was_sent_what_came_while_it_was_live(story: Story) -> None:
    story.publish()
    story.subscribe("carl")
    story.publish()
    sent_at = story.at
    story.end("carl", "unsubscribed")
    story.publish()
    assert story.ledger(1) == story.ledger(3) == {}
    assert story.ledger(2) == {"carl": (sent_at, None)}
    assert [story.verdict(n) for n in (1, 2, 3)] == [
        "not_subscribed",
        "delivered",
        "not_subscribed",
    ]
    assert story.explain(2).at == sent_at


def test_what_is_committed_but_not_delivered_yet_was_not_sent(story: Story) -> None:
    story.subscribe("carl")
    story.publish()
    before = story.delivered
    story.publish()
    story.delivered = before
    assert (story.verdict(1), story.verdict(2)) == ("delivered", "not_subscribed")


def test_a_consumption_is_on_the_ledger_with_its_time(story: Story) -> None:
    story.subscribe("carl")
    story.publish()
    sent_at = story.at
    story.at = 1_500.0
    story.consume("carl", 1)
    assert story.ledger(1) == {"carl": (sent_at, 1_500.0)}
    assert story.pending(1) == []
    explanation = story.explain(1)
    assert (explanation.verdict, explanation.at) == ("consumed", 1_500.0)


def test_who_consumed_it_unsent_is_on_the_ledger_too(story: Story) -> None:
    story.publish()
    story.consume("dora", 1)
    assert story.ledger(1) == {"dora": (None, story.at)}
    assert story.verdict(1, "dora") == "consumed"


def test_pending_are_those_who_want_it_and_did_not_consume_it(story: Story) -> None:
    story.commit(interests=[Interest("away", "news"), Interest("done", "ne*")])
    story.subscribe("live")
    story.publish()
    story.commit(interests=[Interest("late", "news")])
    story.consume("done", 1)
    story.resend("late", 0, 1)
    assert story.pending(1) == ["away", "late", "live"]
    story.consume("live", 1)
    story.consume("away", 1)
    assert story.pending(1) == ["late"]


@pytest.mark.parametrize("pattern", ["*", "n*", "news*"])
def test_a_pattern_covers_the_topics_that_it_matches(story: Story, pattern: str) -> None:
    story.subscribe("carl", pattern)
    story.subscribe("dora", "other*")
    story.publish()
    assert list(story.ledger(1)) == ["carl"]
    story.publish("$own")
    assert list(story.ledger(1, "$own")) == []


def test_two_spans_of_one_consumer_are_one_line(story: Story) -> None:
    story.subscribe("carl", "news")
    story.subscribe("carl", "*")
    story.publish()
    assert list(story.ledger(1)) == ["carl"]


def test_a_replay_is_a_delivery_at_its_own_time(story: Story) -> None:
    for _ in range(4):
        story.publish()
    story.at = 1_700.0
    story.resend("carl", 1, 3)
    assert [story.ledger(n) for n in (1, 4)] == [{}, {}]
    assert [story.ledger(n) for n in (2, 3)] == [{"carl": (1_700.0, None)}] * 2
    story.at = 1_800.0
    story.resend("carl", 0, 4)
    assert story.ledger(2) == {"carl": (1_700.0, None)}
    assert story.explain(1).at == 1_800.0
    story.publish("other")
    assert story.ledger(1, "other") == {}


def test_of_a_slow_one_only_what_left_in_time_was_sent(story: Story) -> None:
    story.subscribe("carl")
    story.publish(at=1_001.0)
    story.publish(at=1_002.0)
    story.publish(at=1_003.0)
    story.at = 1_010.0
    story.end("carl", "slow", stalled_at=1_002.5)
    assert [story.verdict(n) for n in (1, 2, 3)] == ["delivered", "delivered", "slow"]
    assert story.explain(3).at == 1_010.0
    story.publish(at=1_020.0)
    assert story.verdict(4) == "not_subscribed"  # it could have come again by then


def test_a_slow_one_that_took_nothing_was_sent_nothing(story: Story) -> None:
    story.publish(at=1_001.0)
    story.subscribe("carl")
    story.publish(at=1_002.0)
    story.end("carl", "slow", stalled_at=1_001.5)
    assert story.verdict(2) == "slow"
    assert story.ledger(2) == {}


def test_a_slow_one_that_came_again_was_sent_it_after_all(story: Story) -> None:
    story.subscribe("carl")
    story.publish(at=1_002.0)
    story.end("carl", "slow", stalled_at=1_001.0)
    story.resend("carl", 0, 1)
    assert story.verdict(1) == "delivered"


def test_a_disconnected_one_was_sent_all_until_then(story: Story) -> None:
    story.subscribe("carl")
    story.publish()
    story.end("carl", "disconnected")
    story.publish()
    assert [story.verdict(n) for n in (1, 2)] == ["delivered", "not_subscribed"]
    assert "consumed" in story.explain(2).detail


def test_after_a_crash_only_what_its_node_is_known_to_have_delivered_was_sent(
    story: Story,
) -> None:
    story.subscribe("carl", node="crashed")
    story.publish()
    story.commit("crashed")
    story.publish()
    story.publish()
    assert [story.verdict(n) for n in (1, 2, 3)] == [
        "delivered",
        "not_subscribed",
        "not_subscribed",
    ]


def test_a_stranger_did_not_subscribe(story: Story) -> None:
    story.publish()
    explanation = story.explain(1, "stranger")
    assert (explanation.verdict, explanation.at) == ("not_subscribed", None)
    assert "not subscribed" in explanation.detail


def test_what_was_never_published_is_unknown(story: Story) -> None:
    story.publish()
    assert [story.verdict(n) for n in (0, 2, 2**62)] == ["unknown"] * 3
    assert story.verdict(1, topic="never") == "unknown"
    for topic, sequence in (("news", 0), ("news", 2), ("never", 1)):
        assert story.storage.reader.ledger(topic, sequence, Here(NODE, 9)) is None


def test_what_was_trimmed_is_said_to_be(story: Story) -> None:
    story.subscribe("carl")
    for _ in range(4):
        story.publish()
    story.consume("carl", 1)
    while story.storage.writer.trim(Retention(2, None), 0.0, 10):
        pass
    assert [story.verdict(n) for n in (1, 2, 3, 4, 5)] == [
        "trimmed", "trimmed", "delivered", "delivered", "unknown"
    ]  # fmt: skip
    assert "3" in story.explain(1).detail
    assert story.storage.reader.ledger("news", 2, Here(NODE, 9)) is None


def test_a_replay_of_a_topic_that_does_not_exist_is_no_trouble(story: Story) -> None:
    story.resend("carl", 0, 5, "never")
    story.publish("never")
    assert story.ledger(1, "never") == {}


def test_a_span_that_ends_in_the_batch_that_begins_it(story: Story) -> None:
    story.commit(
        deliveries=[
            SpanStart(9_001, NODE, "carl", "news", 0, 1.0),
            SpanEnd(9_001, 0, 1.0, "unsubscribed"),
        ]
    )
    story.publish()
    assert story.ledger(1) == {}


def trim_all(story: Story, keep: int) -> None:
    while story.storage.writer.trim(Retention(keep, None), story.at, 3):
        pass


def test_what_is_told_of_messages_goes_with_them(
    story: Story, deliveries_kept: Callable[[], dict[str, int]]
) -> None:
    for _ in range(5):
        story.subscribe("ann")
        story.publish()
        story.end("ann", "disconnected")
        story.resend("bob", story.delivered - 1, story.delivered)
    story.subscribe("carl")  # still live
    story.subscribe("dora", node="crashed")
    story.publish()
    story.publish()
    assert deliveries_kept() == {"spans": 7, "replays": 5, "nodes": 2}
    trim_all(story, keep=1)
    assert deliveries_kept() == {"spans": 2, "replays": 0, "nodes": 2}  # it may only be idle
    story.at += LOST_SECONDS
    story.commit()
    trim_all(story, keep=1)
    assert deliveries_kept() == {"spans": 1, "replays": 0, "nodes": 1}
    assert story.verdict(7, "carl") == "delivered"


def test_a_node_that_is_idle_is_not_taken_for_one_that_died(
    story: Story, deliveries_kept: Callable[[], dict[str, int]]
) -> None:
    story.publish()
    story.subscribe("carl", node="idle")
    story.publish()
    story.subscribe("dora")
    for _ in range(5):  # nothing is left of the log, and nothing new comes
        story.at += LOST_SECONDS / 2
        story.commit()
        story.commit("idle")
        trim_all(story, keep=0)
        assert deliveries_kept() == {"spans": 2, "replays": 0, "nodes": 2}
    story.publish()
    assert story.verdict(3, "dora") == "delivered"
    story.at += LOST_SECONDS + 1  # now it is killed
    story.commit()
    trim_all(story, keep=0)
    assert deliveries_kept() == {"spans": 1, "replays": 0, "nodes": 1}


def test_a_span_in_which_nothing_was_sent_is_not_kept(
    story: Story, deliveries_kept: Callable[[], dict[str, int]]
) -> None:
    story.publish()
    for _ in range(10):
        story.subscribe("ann")
        story.end("ann", "disconnected")
    assert deliveries_kept()["spans"] == 0
    assert story.verdict(1, "ann") == "not_subscribed"
