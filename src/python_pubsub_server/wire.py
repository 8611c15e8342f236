"""Bytes to values: every rule about size, names and shapes of what clients send.

Each `parse_*` takes the JSON text of one request (an HTTP body, an event's argument) and returns
a value of the model or raises `Invalid` or `TooLarge` with a text that says what to send instead.
Nothing here waits or remembers anything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NoReturn
from zlib import crc32

import msgspec
from msgspec import Raw

from .errors import Forbidden, Invalid, TooLarge
from .model import Claim, Draft

MAX_NAME_LENGTH = 200
ROOM_PREFIX = "chat:"  # of the topics that are chat rooms
SYSTEM_USER = "system"  # under whose name the server speaks in rooms
MAX_BATCH_ITEMS = 10_000
MAX_SUBSCRIPTIONS = 1_000
MAX_DEPTH = 256
LARGE_BATCH_BYTES = 2**20
DEFAULT_PAGE = 100
MAX_PAGE = 1_000
MAX_INTEGER_DIGITS = 4_300  # what Python's int() reads; a longer one would break its subscribers
MAX_INTEGER = 2**63 - 1

# Where a replay begins: behind a sequence, at the beginning, or at what was not consumed.
After = int | Literal["beginning", "consumed"]

PUBLISH_FIELDS = ("topic", "message_id", "message", "producer")
QUOTE = 0x22
PLAIN_CLAIM_QUOTES = 12
PLAIN_QUOTES = 14  # around the names of four fields and the values of three

_decode_any = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
encode = msgspec.json.Encoder().encode


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


def parse_draft(body: bytes, max_bytes: int) -> Draft:
    """A publish: `{topic, message_id, message, producer}`, `message` any JSON value."""
    if len(body) > max_bytes:
        raise TooLarge(
            f"The message is {len(body)} bytes long; this server takes {max_bytes} at most "
            "(PUBSUB_MAX_MESSAGE_BYTES)"
        )
    return _plain_draft(body) or _draft(_object(body, "publish"))


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


def parse_subscribe(body: bytes) -> Subscribe:
    """`{consumer, topics: [...]}`, `{channel}` or a bare string."""
    fields = _topic_object(body, "subscribe")
    topics = _subscription_topics(fields)
    if topics is None:
        raise Invalid("Missing required field: topics")
    consumer = fields.get("consumer")
    return Subscribe(
        consumer=None if consumer is None else _name(consumer, "consumer"),
        topics=topics,
        is_short="topics" not in fields or body.lstrip()[:1] == b'"',
        after=_after(fields.get("after")),
        epoch=_epoch(fields.get("epoch")),
    )


def parse_unsubscribe(body: bytes | None) -> tuple[str, ...] | None:
    """The topics to leave, None for all of them."""
    if body is None or body.strip() in (b"", b"null"):
        return None
    return _subscription_topics(_topic_object(body, "unsubscribe"))


def parse_claim(body: bytes) -> Claim:
    """`{consumer, topic, message_id, sequence?, message?}`."""
    return _plain_claim(body) or _claim(_object(body, "consumed"))


def _claim(fields: Mapping[str, Raw]) -> Claim:
    for name in ("consumer", "topic", "message_id"):
        if name not in fields:
            raise Invalid(f"Missing required field: {name}")
    sequence = fields.get("sequence")
    return Claim(
        consumer=_name(fields["consumer"], "consumer"),
        topic=check_topic(_name(fields["topic"], "topic"), "topic"),
        message_id=_name(fields["message_id"], "message_id"),
        sequence=None
        if sequence is None or bytes(sequence) == b"null"
        else _integer(sequence, "sequence", minimum=1),
    )


def parse_history(body: bytes) -> tuple[str, int, int]:
    """`{topic, after?, limit?}`: the topic, the sequence to start behind, how many at most."""
    fields = _object(body, "history")
    if "topic" not in fields:
        raise Invalid("Missing required field: topic")
    after, limit = fields.get("after"), fields.get("limit")
    return (
        check_topic(_name(fields["topic"], "topic"), "topic"),
        0 if after is None else _integer(after, "after", minimum=0),
        min(MAX_PAGE, DEFAULT_PAGE if limit is None else _integer(limit, "limit", minimum=1)),
    )


def parse_refresh(body: bytes) -> str:
    """A new token: `{token}` or a bare string."""
    if body.lstrip()[:1] == b'"':
        check_json(body)
        return _text(Raw(body), "token")
    fields = _object(body, "refresh")
    if "token" not in fields:
        raise Invalid("Missing required field: token")
    return _text(fields["token"], "token")


def parse_presence(body: bytes) -> str:
    """`{topic}`, or a bare string: the topic."""
    if body.lstrip()[:1] == b'"':
        check_json(body)
        return check_topic(_name(Raw(body), "topic"), "topic")
    fields = _object(body, "presence")
    if "topic" not in fields:
        raise Invalid("Missing required field: topic")
    return check_topic(_name(fields["topic"], "topic"), "topic")


def raw_fields(body: bytes, what: str) -> dict[str, Raw]:
    """The fields of a JSON object, each as it was written. Raises Invalid."""
    return _object(body, what)


def check_topic(topic: str, field: str) -> str:
    """A concrete topic that clients may name; the server's own begin with `$`."""
    if "*" in topic:
        raise Invalid(f"`{field}` must not contain `*`: {topic!r}; patterns are for subscribing")
    return topic


def check_name(name: str, field: str) -> str:
    """A topic's, producer's, consumer's or message's name: 1 to 200 printable characters."""
    if not name:
        raise Invalid(f"`{field}` must not be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise Invalid(f"`{field}` is {len(name)} characters long; send {MAX_NAME_LENGTH} at most")
    if not name.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in name):
        raise Invalid(f"`{field}` must not contain control characters: {name!r}")
    return name


def is_system(name: str) -> bool:
    """Whether a name is, or would be read as, the one under which the server speaks in rooms."""
    return unicodedata.normalize("NFKC", name).casefold().strip() == SYSTEM_USER


def check_subscription(topic: str) -> str:
    """A topic or a pattern: one `*`, at its end."""
    check_name(topic, "topics")
    if "*" in topic[:-1]:
        raise Invalid(f"`*` may only stand at the end of a pattern: {topic!r}")
    return topic


class _Publish(msgspec.Struct, gc=False):
    topic: str
    message_id: str
    message: Raw
    producer: str


_decode_publish = msgspec.json.Decoder(_Publish).decode
_decode_claim = msgspec.json.Decoder(Claim).decode
_decode_publishes = msgspec.json.Decoder(list[_Publish]).decode


def _plain_draft(body: bytes) -> Draft | None:
    """The draft of a body that plainly breaks no rule; None: look closer.

    Nearly every publish is one: exactly the four fields, no escapes, short printable names. What
    `_object` and `_draft` check field by field is then seen at a glance, in half the time.
    """
    if b"\\" in body or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        return None
    try:
        publish = _decode_publish(body)
        content = _encode_sorted(_decode_any(publish.message))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    topic, message_id, producer = publish.topic, publish.message_id, publish.producer
    if not (
        body.count(b'"') == PLAIN_QUOTES + content.count(b'"')  # no other key, and none twice
        and 0 < len(topic) <= MAX_NAME_LENGTH
        and 0 < len(message_id) <= MAX_NAME_LENGTH
        and 0 < len(producer) <= MAX_NAME_LENGTH
        and (topic + message_id + producer).isprintable()
        and _is_for_all(topic)
    ):
        return None
    return Draft(topic, message_id, publish.message.copy(), producer, _hash(producer, content))


def _plain_claim(body: bytes) -> Claim | None:
    """The claim of a body that plainly breaks no rule, as of nearly all; None: look closer."""
    if b"\\" in body or b"[" in body or body.count(b"{") > 1:
        return None
    try:
        claim = _decode_claim(body)
    except (msgspec.MsgspecError, ValueError):
        return None
    consumer, topic, message_id, sequence = msgspec.structs.astuple(claim)
    quotes = PLAIN_CLAIM_QUOTES if sequence is None else PLAIN_CLAIM_QUOTES + 2
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
            content = message if is_canonical else _encode_sorted(_decode_any(message))
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
        and all(map(_is_for_all, topics))
    )


def _is_for_all(topic: str) -> bool:
    """Whether a topic (not empty) is one on which no rule says who may publish what."""
    return "*" not in topic and topic[0] != "$" and not topic.startswith(ROOM_PREFIX)


def _refuse_large(body: bytes) -> None:
    """Refuse a large batch of anything but publishes before its parts take ten times its size."""
    try:
        _decode_publishes(body)
    except msgspec.ValidationError as error:
        place = re.search(r"\$\[(\d+)\]", str(error))
        where = f"Item {place[1]}: " if place else ""
        raise Invalid(f"{where}this is not a message to publish: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_json(error)


def _draft(fields: Mapping[str, Raw]) -> Draft:
    for field in PUBLISH_FIELDS:
        if field not in fields:
            raise Invalid(f"Missing required field: {field}")
    topic = check_topic(_name(fields["topic"], "topic"), "topic")
    if topic.startswith("$"):
        raise Invalid(f"Topics that begin with `$` are the server's own: {topic!r}")
    producer = _name(fields["producer"], "producer")
    if topic.startswith(ROOM_PREFIX) and is_system(producer):
        raise Forbidden(f"In chat rooms nobody but the server is called {SYSTEM_USER!r}")
    message = fields["message"].copy()
    return Draft(
        topic,
        _name(fields["message_id"], "message_id"),
        message,
        producer,
        fingerprint(producer, bytes(message)),
    )


def fingerprint(producer: str, message: bytes) -> int:
    """A signed 64-bit hash, equal for equal producers and equal JSON values."""
    return _hash(producer, canonical(message))


def _hash(producer: str, content: bytes) -> int:
    """Finds what may be a repetition; whoever finds it compares, so a checksum is enough."""
    return (crc32(content) - 2**31) << 32 | crc32(producer.encode())


def canonical(message: bytes) -> bytes:
    """A JSON value's text with its keys sorted and its spaces gone."""
    value = _decode_any(message)
    try:
        return _encode_sorted(value)
    except OverflowError:  # an integer over 64 bits, which msgspec reads but does not write
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _object(body: bytes, what: str) -> dict[str, Raw]:
    """The fields of a JSON object, each still JSON text, after a check of the whole."""
    if not body.strip():
        raise Invalid(f"`{what}` takes a JSON object, but nothing was sent")
    try:
        fields = _decode_object(body)
    except msgspec.ValidationError:
        check_json(body)
        raise Invalid(f"`{what}` takes a JSON object, not {_kind(body)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_json(error)
    check_json(body)
    return fields


def _topic_object(body: bytes, what: str) -> dict[str, Raw]:
    """The fields of a subscribe or unsubscribe; a bare string is one topic."""
    if body.lstrip()[:1] == b'"':
        check_json(body)
        return {"topics": Raw(b"[" + body + b"]")}
    return _object(body, what)


def _list(body: bytes) -> list[Raw]:
    try:
        return _decode_list(body)
    except msgspec.ValidationError:
        check_json(body)
        raise Invalid(f"A batch is a JSON array of messages, not {_kind(body)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_json(error)


def _subscription_topics(fields: Mapping[str, Raw]) -> tuple[str, ...] | None:
    """What `topics` or `channel` names, each once, in order."""
    raw = fields.get("topics", fields.get("channel"))
    if raw is None or bytes(raw) == b"null":
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
    value = _decode_any(raw)
    if value is None:
        return None
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


def _epoch(raw: Raw | None) -> str | None:
    if raw is None or bytes(raw) == b"null":
        return None
    return _name(raw, "epoch")


def _name(raw: Raw, field: str) -> str:
    return check_name(_text(raw, field), field)


def _text(raw: Raw, field: str) -> str:
    try:
        return _decode_text(raw)
    except msgspec.ValidationError:
        raise Invalid(f"`{field}` must be a string, not {_kind(bytes(raw))}") from None


def _integer(raw: Raw, field: str, *, minimum: int) -> int:
    try:
        value = msgspec.json.decode(raw, type=int)
    except msgspec.ValidationError:
        raise Invalid(f"`{field}` must be a whole number, not {_kind(bytes(raw))}") from None
    if not minimum <= value <= MAX_INTEGER:
        raise Invalid(f"`{field}` must be a whole number from {minimum} to {MAX_INTEGER}")
    return value


def check_json(body: bytes) -> None:
    """Refuse what JSON readers do not agree on, so that every subscriber reads the same value.

    That is duplicate keys, lone surrogates, invalid UTF-8, NaN, numbers out of a double's range,
    integers too long to be read, and nesting deeper than 256 levels (RFC 8259 §4, §6, §8, §9).
    """
    try:
        value = _decode_any(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse_json(error)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Invalid(f"The JSON is nested deeper than {MAX_DEPTH} levels")
    _refuse_duplicate_keys(body, value)


def _refuse_duplicate_keys(body: bytes, value: Any) -> None:
    """Without escapes, a text has two quotes a string; a key that was dropped shows as fewer."""
    if b"\\" not in body:
        try:
            if _encode_sorted(value).count(b'"') == body.count(b'"'):
                return
        except OverflowError:  # over 64 bits; the slow way tells
            pass
    json.loads(body, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Invalid(f"The JSON has the key {key[:MAX_NAME_LENGTH]!r} twice in one object")
        seen.add(key)


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return depth - 1


def _refuse_json(error: Exception) -> NoReturn:
    if isinstance(error, RecursionError):
        raise Invalid(f"The JSON is nested deeper than {MAX_DEPTH} levels") from None
    if isinstance(error, UnicodeDecodeError):
        raise Invalid("The text is not valid UTF-8") from None
    text = str(error).removeprefix("JSON is malformed: ")
    if "surrogate" in text or "hex escape" in text:
        text += "; a lone surrogate (\\ud800) is not a character"
    if "out of range" in text:
        text += f"; numbers go up to 1.8e308, integers to {MAX_INTEGER_DIGITS} digits"
    raise Invalid(f"Malformed JSON: {text}") from None


def _kind(body: bytes) -> str:
    """What a JSON text is, in words, by its first character."""
    first = body.lstrip()[:1]
    kinds = {b"{": "an object", b"[": "a list", b'"': "a string", b"n": "null"}
    return kinds.get(first, "true or false" if first in (b"t", b"f") else "a number")
