"""Publishes, one and many: nearly all break no rule, and that is seen at a glance."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from zlib import crc32

import msgspec
from msgspec import Raw

from ..errors import Forbidden, Invalid, TooLarge
from ..model import Draft
from .fields import name_in, raw_fields, required
from .json_rules import (
    MAX_DEPTH,
    canonical,
    check_json,
    decode_any,
    encode_sorted,
    kind_of,
    refuse_json,
)
from .names import (
    MAX_NAME_LENGTH,
    ROOM_PREFIX,
    SYSTEM_USER,
    check_topic,
    is_for_all,
    is_system,
)

MAX_BATCH_ITEMS = 10_000
LARGE_BATCH_BYTES = 2**20
PUBLISH_FIELDS = ("topic", "message_id", "message", "producer")
PLAIN_QUOTES = 14  # around the names of four fields and the values of three
QUOTE = 0x22


class _Publish(msgspec.Struct, gc=False):
    topic: str
    message_id: str
    message: Raw
    producer: str


_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_publish = msgspec.json.Decoder(_Publish).decode
_decode_publishes = msgspec.json.Decoder(list[_Publish]).decode


def parse_draft(body: bytes, max_bytes: int) -> Draft:
    """A publish: `{topic, message_id, message, producer}`, `message` any JSON value."""
    if len(body) > max_bytes:
        raise TooLarge(
            f"The message is {len(body)} bytes long; this server takes {max_bytes} at most "
            "(PUBSUB_MAX_MESSAGE_BYTES)"
        )
    return _plain_draft(body) or _draft(raw_fields(body, "publish"))


def parse_batch(body: bytes, max_bytes: int, *, ndjson: bool) -> list[Draft]:
    """A batch of publishes, as a JSON array or as one JSON object a line; all good or none."""
    if not ndjson and len(body) <= max_bytes and (plain := _plain_drafts(body)):
        return plain
    if len(body) > LARGE_BATCH_BYTES and not ndjson:
        _refuse_large(body)
    items: Sequence[bytes | Raw] = (
        [line for line in body.split(b"\n") if line.strip()] if ndjson else _list(body)
    )
    if not items:
        raise Invalid("The batch is empty: send 1 to 10,000 messages")
    if len(items) > MAX_BATCH_ITEMS:
        raise TooLarge(f"The batch has {len(items)} messages; send at most {MAX_BATCH_ITEMS}")
    drafts = []
    for index, item in enumerate(items):
        try:
            drafts.append(parse_draft(bytes(item), max_bytes))
        except (Forbidden, Invalid, TooLarge) as error:
            raise type(error)(f"Item {index}: {error.message}") from None
    return drafts


def fingerprint(producer: str, message: bytes) -> int:
    """A signed 64-bit hash, equal for equal producers and equal JSON values."""
    return _hash(producer, canonical(message))


def _plain_draft(body: bytes) -> Draft | None:
    """The draft of a body that plainly breaks no rule; None: look closer.

    Nearly every publish is one: exactly the four fields, no escapes, short printable names. What
    `raw_fields` and `_draft` check field by field is then seen at a glance, in half the time.
    """
    if b"\\" in body or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        return None
    try:
        publish = _decode_publish(body)
        content = encode_sorted(decode_any(publish.message))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    topic, message_id, producer = publish.topic, publish.message_id, publish.producer
    if not (
        body.count(b'"') == PLAIN_QUOTES + content.count(b'"')  # no other key, and none twice
        and 0 < len(topic) <= MAX_NAME_LENGTH
        and 0 < len(message_id) <= MAX_NAME_LENGTH
        and 0 < len(producer) <= MAX_NAME_LENGTH
        and (topic + message_id + producer).isprintable()
        and is_for_all(topic)
    ):
        return None
    return Draft(topic, message_id, publish.message.copy(), producer, _hash(producer, content))


def _plain_drafts(body: bytes) -> list[Draft] | None:
    """The drafts of an array of which every item is as `_plain_draft` wants it; None: look closer.

    Rules that hold for all items together are checked for all at once.
    """
    if b"\\" in body:
        return None
    drafts = []
    quotes = 0
    try:
        publishes = _decode_publishes(body)
        producers = {publish.producer for publish in publishes}
        if len(publishes) > MAX_BATCH_ITEMS or not _are_plain(publishes, producers):
            return None
        checksums = {producer: crc32(producer.encode()) for producer in producers}
        is_flat = body.count(b"[") + body.count(b"{") <= MAX_DEPTH
        is_ascii = body.isascii()
        for publish in publishes:
            message = bytes(publish.message)
            # A string without escapes is its own canonical form.
            is_canonical = is_ascii and message[0] == QUOTE
            content = message if is_canonical else encode_sorted(decode_any(message))
            if not (is_flat or content.count(b"[") + content.count(b"{") < MAX_DEPTH):
                return None
            quotes += PLAIN_QUOTES + content.count(b'"')
            producer = publish.producer
            fingerprint = (crc32(content) - 2**31) << 32 | checksums[producer]
            drafts.append(
                Draft(publish.topic, publish.message_id, Raw(message), producer, fingerprint)
            )
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    return drafts if body.count(b'"') == quotes else None


def _are_plain(publishes: Sequence[_Publish], producers: Collection[str]) -> bool:
    """Whether all names are short and printable, and all topics such that anybody may name them."""
    topics = {publish.topic for publish in publishes}
    message_ids = [publish.message_id for publish in publishes]
    lengths = [len(name) for names in (topics, message_ids, producers) for name in names]
    return (
        bool(publishes)
        and min(lengths) > 0
        and max(lengths) <= MAX_NAME_LENGTH
        and "".join((*topics, *message_ids, *producers)).isprintable()
        and all(map(is_for_all, topics))
    )


def _refuse_large(body: bytes) -> None:
    """Refuse a large batch of anything but publishes before its parts take ten times its size."""
    try:
        _decode_publishes(body)
    except msgspec.ValidationError as error:
        place = re.search(r"\$\[(\d+)\]", str(error))
        where = f"Item {place[1]}: " if place else ""
        raise Invalid(f"{where}this is not a message to publish: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse_json(error)


def _list(body: bytes) -> list[Raw]:
    try:
        return _decode_list(body)
    except msgspec.ValidationError:
        check_json(body)
        raise Invalid(f"A batch is a JSON array of messages, not {kind_of(body)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse_json(error)


def _draft(fields: Mapping[str, Raw]) -> Draft:
    raw_topic, raw_id, raw_message, raw_producer = (
        required(fields, name) for name in PUBLISH_FIELDS
    )
    topic = check_topic(name_in(raw_topic, "topic"), "topic")
    if topic.startswith("$"):
        raise Invalid(f"Topics that begin with `$` are the server's own: {topic!r}")
    producer = name_in(raw_producer, "producer")
    if topic.startswith(ROOM_PREFIX) and is_system(producer):
        raise Forbidden(f"In chat rooms nobody but the server is called {SYSTEM_USER!r}")
    message_id = name_in(raw_id, "message_id")
    message = raw_message.copy()
    return Draft(topic, message_id, message, producer, fingerprint(producer, bytes(message)))


def _hash(producer: str, content: bytes) -> int:
    """Finds what may be a repetition; whoever finds it compares, so a checksum is enough."""
    return (crc32(content) - 2**31) << 32 | crc32(producer.encode())
