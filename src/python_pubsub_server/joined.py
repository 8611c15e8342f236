"""The answer to `subscribe`: where each subscription begins, and whether anything was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .missed import Plan, Replay
from .model import TopicPosition, is_pattern, matches
from .wire import Subscribe


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


def joined_topics(request: Subscribe, plan: Plan, *, is_same_log: bool) -> list[JoinedTopic]:
    """Where each of the wanted topics and patterns begins."""

    def joined(topic: str) -> list[JoinedTopic]:
        return [_joined(p, plan.replays.get(p.topic), is_same_log) for p in plan.positions[topic]]

    return [
        _summary(topic, joined(topic), _has_all(request, topic, plan, is_same_log))
        for topic in request.topics
    ]


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
