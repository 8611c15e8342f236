"""Bytes to values: every rule about size, names and shapes of what clients send.

Each `parse_*` takes the JSON text of one request (an HTTP body, an event's argument) and returns
a value of the model or raises `Invalid`, `TooLarge` or `Forbidden` with a text that says what to
send instead. Nothing here waits or remembers anything.
"""

from .fields import MAX_INTEGER, raw_fields
from .json_rules import canonical, check_json, encode
from .names import (
    MAX_NAME_LENGTH,
    ROOM_PREFIX,
    SYSTEM_USER,
    check_name,
    check_subscription,
    check_topic,
    is_system,
)
from .publishes import MAX_BATCH_ITEMS, fingerprint, parse_batch, parse_draft
from .requests import parse_claim, parse_history, parse_presence, parse_refresh
from .subscriptions import (
    MAX_SUBSCRIPTIONS,
    After,
    Subscribe,
    parse_subscribe,
    parse_unsubscribe,
)

__all__ = [
    "MAX_BATCH_ITEMS",
    "MAX_INTEGER",
    "MAX_NAME_LENGTH",
    "MAX_SUBSCRIPTIONS",
    "ROOM_PREFIX",
    "SYSTEM_USER",
    "After",
    "Subscribe",
    "canonical",
    "check_json",
    "check_name",
    "check_subscription",
    "check_topic",
    "encode",
    "fingerprint",
    "is_system",
    "parse_batch",
    "parse_claim",
    "parse_draft",
    "parse_history",
    "parse_presence",
    "parse_refresh",
    "parse_subscribe",
    "parse_unsubscribe",
    "raw_fields",
]
