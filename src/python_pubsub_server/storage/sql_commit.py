"""The rules of a commit, the same of every database: names, order, and what a claim counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..model import Claim, Draft, Interest, Loss, Message, Published, Resent, SpanStart
from .database import Batch
from .multirow import write_rows
from .recent import Recent
from .sql import Connection

_LAST_TOPIC = "SELECT coalesce(max(topic_id), 0) FROM topics"
_LAST_CONSUMER = "SELECT coalesce(max(consumer_id), 0) FROM consumers"
_ADD_CONSUMERS = "INSERT INTO consumers (consumer_id, consumer)"


class Topic(msgspec.Struct):
    """Where a topic stands while a batch is being stored."""

    topic_id: int
    sequence: int
    last_published_at: float = 0.0


class Ordered(msgspec.Struct):
    """A batch's drafts in their order: what became of each, and the rows to be written.

    `messages` are (topic_id, sequence, message_id, text, producer, timestamp, fingerprint),
    `topics`, of those that moved on, (topic_id, topic, sequence, last_published_at), and
    `publishers` (topic_id, producer, messages, last_at).
    """

    published: list[Published]
    messages: list[tuple[int, int, str, str, str, float, int]]
    topics: list[tuple[int, str, int, float]]
    publishers: list[tuple[int, str, int, float]]


class Counted(msgspec.Struct):
    """What a batch's claims came to: for each how many messages it newly confirmed, and rows.

    `consumptions` are (topic_id, sequence, consumer_id), `readers` (topic_id, consumer_id, how
    many).
    """

    claimed: list[int | None]
    consumptions: list[tuple[int, int, int]]
    readers: list[tuple[int, int, int]]


def topic_names(batch: Batch) -> list[str]:
    """The topics whose numbers a batch needs, each once."""
    asking: Iterable[Draft | Claim | Resent | Loss] = (
        *batch.drafts,
        *batch.claims,
        *(one for one in batch.deliveries if isinstance(one, Resent | Loss)),
    )
    return list({one.topic: None for one in asking})


def consumer_names(batch: Batch) -> list[str]:
    """The consumers whose numbers a batch needs, each once."""
    asking: Iterable[Claim | Interest | SpanStart | Resent | Loss] = (
        *batch.interests,
        *batch.claims,
        *(one for one in batch.deliveries if isinstance(one, SpanStart | Resent | Loss)),
    )
    return list({one.consumer: None for one in asking})


def number_topics(
    connection: Connection, drafts: Sequence[Draft], topics: dict[str, Topic]
) -> None:
    """Give numbers to the topics that do not exist yet."""
    new = [name for name in {draft.topic: None for draft in drafts} if name not in topics]
    if new:
        (last,) = connection.execute(_LAST_TOPIC).fetchone()
        for topic_id, name in enumerate(new, start=last + 1):
            topics[name] = Topic(topic_id, 0)


def number_consumers(
    connection: Connection, names: Sequence[str], consumers: dict[str, int]
) -> None:
    """Give numbers to the consumers that are not known yet, and store them."""
    new = [name for name in names if name not in consumers]
    if new:
        (last,) = connection.execute(_LAST_CONSUMER).fetchone()
        numbered = list(enumerate(new, start=last + 1))
        write_rows(connection, _ADD_CONSUMERS, numbered)
        consumers.update((name, consumer_id) for consumer_id, name in numbered)


def order(batch: Batch, topics: Mapping[str, Topic], recent: Recent, not_before: float) -> Ordered:
    """Give each draft that repeats nothing its sequence and its time. The topics move on with it.

    `not_before` is the time of the log's newest message: time does not go back in a log, also
    where the clocks of its nodes differ.
    """
    may_repeat = recent.may_know(batch.drafts)
    published: list[Published] = []
    rows: list[tuple[int, int, str, str, str, float, int]] = []
    totals: dict[tuple[int, str], list[float]] = {}
    changed: dict[str, Topic] = {}
    for draft, arrived_at in zip(batch.drafts, batch.arrived_at, strict=True):
        at = arrived_at if arrived_at > not_before else not_before
        if may_repeat and (earlier := recent.earlier(draft, at)) is not None:
            published.append(Published(earlier, True))
            continue
        # The busiest loop of a batch: nothing is looked up twice.
        name, message_id, producer, content = (
            draft.topic,
            draft.message_id,
            draft.producer,
            draft.message,
        )
        topic = changed[name] = topics[name]
        topic.sequence = sequence = topic.sequence + 1
        topic.last_published_at = not_before = at
        message = Message(name, message_id, content, producer, at, sequence)
        if may_repeat:
            recent.add(draft, message)
        published.append(Published(message, False))
        topic_id, text = topic.topic_id, str(content, "utf-8")
        rows.append((topic_id, sequence, message_id, text, producer, at, draft.fingerprint))
        total = totals.get((topic_id, producer))
        if total is None:
            totals[topic_id, producer] = [1, at]
        else:
            total[0] += 1
            total[1] = at
    return Ordered(
        published,
        rows,
        [(t.topic_id, name, t.sequence, t.last_published_at) for name, t in changed.items()],
        [(*key, int(count), last_at) for key, (count, last_at) in totals.items()],
    )


def count_claims(
    batch: Batch,
    found: Iterable[tuple[int, int, int]],
    topics: Mapping[str, Topic],
    consumers: Mapping[str, int],
) -> Counted:
    """What claims newly confirm. `found` has, in the order of the claims, for each message that
    one speaks of: the claim's number, the sequence, and if the consumer had confirmed it before.
    """
    claimed: list[int | None] = [None] * len(batch.claims)
    new: dict[tuple[int, int, int], None] = {}
    totals: dict[tuple[int, int], int] = {}
    for n, sequence, is_known in found:
        claim = batch.claims[n]
        topic_id, consumer_id = topics[claim.topic].topic_id, consumers[claim.consumer]
        key = (topic_id, sequence, consumer_id)
        is_new = not is_known and key not in new
        claimed[n] = (claimed[n] or 0) + is_new
        if is_new:
            new[key] = None
            edge = (topic_id, consumer_id)
            totals[edge] = totals.get(edge, 0) + 1
    return Counted(claimed, list(new), [(*edge, count) for edge, count in totals.items()])
