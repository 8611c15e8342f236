"""The values that move through the server. All are frozen; none knows how it is stored or sent."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

OVERHEAD = 200  # bytes of a message's names, times and framing


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A publish that passed the rules and has no place in its topic yet.

    `message` is the JSON text as the publisher wrote it; `fingerprint` a signed 64-bit hash of
    producer and content, equal for equal content however its JSON is spaced or ordered.
    """

    topic: str
    message_id: str
    message: Raw
    producer: str
    fingerprint: int


class Message(msgspec.Struct, frozen=True, gc=False):
    """A stored message. Encoded as JSON it is the message of the protocol, field for field."""

    topic: str
    message_id: str
    message: Raw
    producer: str
    timestamp: float
    sequence: int


def bytes_of(message: Message) -> int:
    """About how many bytes a message takes where it waits or travels."""
    return memoryview(message.message).nbytes + OVERHEAD


class Published(msgspec.Struct, frozen=True, gc=False):
    """What became of a draft. A duplicate carries the message that was stored the first time."""

    message: Message
    duplicate: bool


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A consumer says that it processed a message; no sequence means every one with that id."""

    consumer: str
    topic: str
    message_id: str
    sequence: int | None = None


class Interest(msgspec.Struct, frozen=True, gc=False):
    """A consumer wants a topic or a pattern; kept from the first time on.

    `from_start`: also what was published before that.
    """

    consumer: str
    topic: str
    from_start: bool = False


class Vote(msgspec.Struct, frozen=True, gc=False):
    """A user's vote on a suggestion: 1, -1, or 0 for none (any more).

    `message_id` is that of the message which tells of it, where it changes something.
    """

    suggestion_id: str
    voter: str
    value: int
    message_id: str


class Tally(msgspec.Struct, frozen=True, gc=False):
    """How a suggestion stands: its votes up and down, and their difference."""

    suggestion_id: str
    score: int
    up: int
    down: int


class Consumption(msgspec.Struct, frozen=True, gc=False):
    """A recorded consumption, as `GET /consumptions` shows it."""

    consumer: str
    topic: str
    message_id: str
    message: Raw
    timestamp: float


class Page(msgspec.Struct, frozen=True, gc=False):
    """Some of a topic's messages, oldest first; `is_last`: there was nothing behind them."""

    messages: list[Message]
    is_last: bool


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """What the whole log has behind a position, oldest first, each message with its position.

    It speaks for everything up to `through`: a position without a message was trimmed. `is_last`:
    there was nothing behind it.
    """

    messages: list[tuple[int, Message]]
    through: int
    is_last: bool


class TopicPosition(msgspec.Struct, frozen=True, gc=False):
    """Where a topic stands: its last sequence (0: nothing yet) and the first one retained."""

    topic: str
    sequence: int
    first: int


class SpanStart(msgspec.Struct, frozen=True, gc=False):
    """A named consumer is live on a topic or pattern from behind a position of the log on."""

    span_id: int
    node_id: str
    consumer: str
    topic: str
    after: int
    at: float


class SpanEnd(msgspec.Struct, frozen=True, gc=False):
    """... and was sent everything through another position; of a slow one, what left in time.

    `reason` is `unsubscribed`, `disconnected` or `slow`; `stalled_at` since when a slow
    connection took nothing any more.
    """

    span_id: int
    through: int
    at: float
    reason: str
    stalled_at: float | None = None


class Resent(msgspec.Struct, frozen=True, gc=False):
    """A consumer was sent what it had missed: a topic's sequences behind `after` to `through`."""

    consumer: str
    topic: str
    after: int
    through: int
    at: float


class Loss(msgspec.Struct, frozen=True, gc=False):
    """What retention took of a topic before a consumer that wanted it had confirmed it.

    `total` messages so far, of which it knows of `told`.
    """

    consumer: str
    topic: str
    total: int
    told: int = 0


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A line of a message's ledger."""

    consumer: str
    delivered_at: float | None
    consumed_at: float | None


class Ledger(msgspec.Struct, frozen=True, gc=False):
    """Who was sent a message and who consumed it; `pending` want it and did not consume it."""

    message: Message
    consumers: list[Delivery]
    pending: list[str]


class Explanation(msgspec.Struct, frozen=True, gc=False):
    """Why a consumer did or did not get a message."""

    verdict: str
    at: float | None
    detail: str


class TopicSummary(msgspec.Struct, frozen=True, gc=False):
    """A row of `GET /topics`, without what only the hub knows (subscribers)."""

    topic: str
    sequence: int
    messages: int
    producers: int
    last_published_at: float | None


class Edge(msgspec.Struct, frozen=True, gc=False):
    """A stored total: a producer's messages on a topic, or a consumer's consumptions of it.

    `lag`: how many messages of the topic are behind the newest one that the consumer confirmed.
    """

    name: str
    topic: str
    count: int
    last_at: float
    lag: int | None = None


class NodeMinute(msgspec.Struct, frozen=True, gc=False):
    """What a node measured in a minute (Unix time / 60): JSON, {metric: [mean, highest]}."""

    minute: int
    node_id: str
    host: str
    measured: str


def is_pattern(topic: str) -> bool:
    return topic.endswith("*")


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic or pattern covers a topic. `*` alone leaves out the server's `$` topics."""
    if pattern == "*":
        return not topic.startswith("$")
    if pattern.endswith("*"):
        return topic.startswith(pattern[:-1])
    return pattern == topic


def covers(pattern: str, wanted: str) -> bool:
    """Whether a topic or pattern stands for all that another one does."""
    if not is_pattern(wanted):
        return matches(pattern, wanted)
    if wanted == "*":
        return pattern == "*"
    return is_pattern(pattern) and matches(pattern, wanted[:-1])


def patterns_of(topic: str) -> Iterator[str]:
    """Every pattern that could cover a topic, the widest first."""
    for length in range(len(topic) + 1):
        pattern = topic[:length] + "*"
        if matches(pattern, topic):
            yield pattern
