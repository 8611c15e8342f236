"""Updates of resources: messages on `resource:updates:{id}`, of which the last is the state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from .bodies import draft_of
from .broker import Broker
from .channels import RESOURCES
from .errors import Invalid
from .identity import Identity
from .model import Published, is_pattern
from .wire import (
    Subscribe,
    check_json,
    check_name,
    check_topic,
    encode,
    parse_subscribe,
    raw_fields,
)

ID = "resource_id"
LAST_STATE = -1  # the last message


class Resources:
    """The use cases."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def update(self, identity: Identity, resource_id: str, fields: Mapping[str, Raw]) -> Published:
        """Store and deliver an update, an object, with the field `resource_id` before the others.

        Raises Invalid, Forbidden, RateLimited, Unavailable.
        """
        topic = topic_of(resource_id)
        named = Raw(encode(resource_id))
        if ID in fields and msgspec.json.decode(fields[ID]) != resource_id:
            raise Invalid(f"The body's `resource_id` is not {resource_id!r}, as the path says")
        content = encode({ID: named} | dict(fields) | {ID: named})
        draft = draft_of(topic, uuid.uuid4().hex, content, identity.producer)
        (published,) = self._broker.publish(identity, [draft])
        return published


def topic_of(resource_id: str) -> str:
    """Raises Invalid for what cannot be a resource's id."""
    check_topic(check_name(resource_id, "resource_id"), "resource_id")
    return check_name(RESOURCES + resource_id, "resource_id")


def parse_update(body: bytes) -> dict[str, Raw]:
    """The fields of any JSON object, as they were written. Raises Invalid."""
    return raw_fields(body, "update")


def parse_wanted(body: bytes) -> Subscribe:
    """`{resource_id, after?, …}` or the bare id, a string or a number; it may be a pattern.

    Without `after` the last state comes first. Raises Invalid.
    """
    text = body.strip()
    fields = raw_fields(body, "subscribe:resource") if text[:1] in (b"{", b"") else {ID: Raw(text)}
    if ID not in fields:
        raise Invalid(f"Missing required field: {ID}")
    check_json(bytes(fields[ID]))
    try:
        resource_id = msgspec.json.decode(fields[ID], type=str | int)
    except msgspec.ValidationError:
        raise Invalid(f"`{ID}` must be a string") from None
    channel = encode(RESOURCES + check_name(str(resource_id), ID))
    kept = {name: fields[name] for name in ("consumer", "after", "epoch") if name in fields}
    wanted = parse_subscribe(encode({"channel": Raw(channel), **kept}))
    if wanted.after is None and not is_pattern(wanted.topics[0]):
        return msgspec.structs.replace(wanted, after=LAST_STATE)
    return wanted
