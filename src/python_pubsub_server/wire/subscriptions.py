"""Subscribing: topics and patterns, and where a replay of them begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Raw

from ..errors import Invalid
from .fields import MAX_INTEGER, given, is_string, name_in, raw_fields
from .json_rules import check_json, decode_any
from .names import check_subscription

MAX_SUBSCRIPTIONS = 1_000

# Where a replay begins: behind a sequence, at the beginning, or at what was not consumed.
After = int | Literal["beginning", "consumed"]


class Subscribe(msgspec.Struct, frozen=True):
    """A checked `subscribe`: what is wanted, by whom.

    The short forms (a bare string, `{channel}`) may leave the consumer out; `{topics}` may not,
    unless the connection has a name already.

    `inbox` is set by the server only: it joins a connection to what its user shall get anyway,
    first what that consumer has not confirmed.
    """

    consumer: str | None
    topics: tuple[str, ...]
    is_short: bool
    after: After | Mapping[str, After] | None = None
    epoch: str | None = None
    inbox: str | None = None


def parse_subscribe(body: bytes) -> Subscribe:
    """`{consumer, topics: [...]}`, `{channel}` or a bare string."""
    fields = _topic_object(body, "subscribe")
    topics = _subscription_topics(fields)
    if topics is None:
        raise Invalid("Missing required field: topics")
    consumer, epoch = fields.get("consumer"), given(fields, "epoch")
    return Subscribe(
        consumer=None if consumer is None else name_in(consumer, "consumer"),
        topics=topics,
        is_short="topics" not in fields or is_string(body),
        after=_after(given(fields, "after")),
        epoch=None if epoch is None else name_in(epoch, "epoch"),
    )


def parse_unsubscribe(body: bytes | None) -> tuple[str, ...] | None:
    """The topics to leave, None for all of them."""
    if body is None or body.strip() in (b"", b"null"):
        return None
    return _subscription_topics(_topic_object(body, "unsubscribe"))


def _topic_object(body: bytes, what: str) -> dict[str, Raw]:
    """The fields of a subscribe or unsubscribe; a bare string is one topic."""
    if is_string(body):
        check_json(body)
        return {"topics": Raw(b"[" + body + b"]")}
    return raw_fields(body, what)


def _subscription_topics(fields: Mapping[str, Raw]) -> tuple[str, ...] | None:
    """What `topics` or `channel` names, each once, in order."""
    raw = given(fields, "topics" if "topics" in fields else "channel")
    if raw is None:
        return None
    try:
        topics = msgspec.json.decode(raw, type=str | list[str])
    except msgspec.ValidationError:
        raise Invalid('`topics` must be a list of strings, like ["orders", "host:*"]') from None
    wanted = tuple(dict.fromkeys([topics] if isinstance(topics, str) else topics))
    if not wanted:
        raise Invalid("`topics` must name at least one topic")
    if len(wanted) > MAX_SUBSCRIPTIONS:
        raise Invalid(f"`topics` names {len(wanted)} topics; send {MAX_SUBSCRIPTIONS} at most")
    for topic in wanted:
        check_subscription(topic)
    return wanted


def _after(raw: Raw | None) -> After | dict[str, After] | None:
    if raw is None:
        return None
    value = decode_any(raw)
    if isinstance(value, dict):
        return {check_subscription(topic): _start(start) for topic, start in value.items()}
    return _start(value)


def _start(value: object) -> After:
    if value == "beginning":
        return "beginning"
    if value == "consumed":
        return "consumed"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return value
    raise Invalid(
        '`after` must be a sequence (a whole number from 0), "beginning" or "consumed", or an '
        'object of those by topic, like {"orders": 42}'
    )
