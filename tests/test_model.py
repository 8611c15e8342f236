from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from python_pubsub_server.model import Draft, Message, is_pattern, matches, patterns_of


@pytest.mark.parametrize(
    ("pattern", "topic", "is_match"),
    [
        ("orders", "orders", True),
        ("orders", "order", False),
        ("orders", "orders:1", False),
        ("orders*", "orders", True),
        ("orders*", "orders:1", True),
        ("orders:*", "orders", False),
        ("orders:*", "orders:", True),
        ("Orders*", "orders", False),
        ("*", "orders", True),
        ("*", "$stats", False),
        ("$*", "$stats", True),
        ("$stats", "$stats", True),
        ("s*", "$stats", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, topic: str, is_match: bool) -> None:
    assert matches(pattern, topic) is is_match


names = st.text("$ab:", min_size=1, max_size=6)


@given(names, st.text("$ab:", max_size=6))
def test_the_patterns_of_a_topic_are_those_that_cover_it(topic: str, prefix: str) -> None:
    patterns = list(patterns_of(topic))
    assert all(is_pattern(pattern) for pattern in patterns)
    assert (f"{prefix}*" in patterns) is matches(f"{prefix}*", topic)
    assert len(patterns) == len(set(patterns))
    assert patterns == sorted(patterns, key=len)


def test_a_message_is_the_message_of_the_protocol() -> None:
    message = Message("t", "m", Raw(b'{"a": [1, null]}'), "p", 1678886500.456, 42)
    assert msgspec.json.encode(message) == (
        b'{"topic":"t","message_id":"m","message":{"a": [1, null]},"producer":"p",'
        b'"timestamp":1678886500.456,"sequence":42}'
    )


def test_values_are_frozen() -> None:
    draft = Draft("t", "m", Raw(b"1"), "p", 7)
    with pytest.raises(AttributeError):
        draft.topic = "other"  # type: ignore[misc]
