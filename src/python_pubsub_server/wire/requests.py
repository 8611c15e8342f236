"""What else clients ask for: `consumed`, `history`, `presence`, `refresh`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ..model import Claim
from .fields import (
    MAX_INTEGER,
    given,
    integer_in,
    name_in,
    only_field,
    raw_fields,
    required,
    text_in,
)
from .names import MAX_NAME_LENGTH, check_topic

DEFAULT_PAGE = 100
MAX_PAGE = 1_000
PLAIN_QUOTES = 12  # around the names and values of three fields

_decode_claim = msgspec.json.Decoder(Claim).decode


def parse_claim(body: bytes) -> Claim:
    """`{consumer, topic, message_id, sequence?, message?}`."""
    return _plain_claim(body) or _claim(raw_fields(body, "consumed"))


def parse_history(body: bytes) -> tuple[str, int, int]:
    """`{topic, after?, limit?}`: the topic, the sequence to start behind, how many at most."""
    fields = raw_fields(body, "history")
    topic = _topic(required(fields, "topic"))
    after, limit = fields.get("after"), fields.get("limit")
    return (
        topic,
        0 if after is None else integer_in(after, "after", minimum=0),
        min(MAX_PAGE, DEFAULT_PAGE if limit is None else integer_in(limit, "limit", minimum=1)),
    )


def parse_refresh(body: bytes) -> str:
    """A new token: `{token}` or a bare string."""
    return text_in(only_field(body, "refresh", "token"), "token")


def parse_presence(body: bytes) -> str:
    """`{topic}`, or a bare string: the topic."""
    return _topic(only_field(body, "presence", "topic"))


def _plain_claim(body: bytes) -> Claim | None:
    """The claim of a body that plainly breaks no rule, as of nearly all; None: look closer."""
    if b"\\" in body or b"[" in body or body.count(b"{") > 1:
        return None
    try:
        claim = _decode_claim(body)
    except (msgspec.MsgspecError, ValueError):
        return None
    consumer, topic, message_id, sequence = msgspec.structs.astuple(claim)
    quotes = PLAIN_QUOTES if sequence is None else PLAIN_QUOTES + 2
    if not (
        body.count(b'"') == quotes  # no other key, and none twice
        and 0 < len(consumer) <= MAX_NAME_LENGTH
        and 0 < len(topic) <= MAX_NAME_LENGTH
        and 0 < len(message_id) <= MAX_NAME_LENGTH
        and (consumer + topic + message_id).isprintable()
        and "*" not in topic
        and (sequence is None or 1 <= sequence <= MAX_INTEGER)
    ):
        return None
    return claim


def _claim(fields: Mapping[str, Raw]) -> Claim:
    consumer, topic, message_id = (
        required(fields, name) for name in ("consumer", "topic", "message_id")
    )
    sequence = given(fields, "sequence")
    return Claim(
        consumer=name_in(consumer, "consumer"),
        topic=_topic(topic),
        message_id=name_in(message_id, "message_id"),
        sequence=None if sequence is None else integer_in(sequence, "sequence", minimum=1),
    )


def _topic(raw: Raw) -> str:
    return check_topic(name_in(raw, "topic"), "topic")
