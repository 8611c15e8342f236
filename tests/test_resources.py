from __future__ import annotations

import pytest

from python_pubsub_server.errors import Invalid
from python_pubsub_server.resources import LAST_STATE, parse_update, parse_wanted, topic_of


@pytest.mark.parametrize(
    ("body", "topic"),
    [
        (b'"7"', "resource:updates:7"),
        (b"7", "resource:updates:7"),
        (b'{"resource_id": "a/b c"}', "resource:updates:a/b c"),
        (b'{"resource_id": 7}', "resource:updates:7"),
    ],
)
def test_a_resource_is_subscribed_to_with_its_last_state(body: bytes, topic: str) -> None:
    wanted = parse_wanted(body)
    assert (wanted.topics, wanted.after, wanted.is_short) == ((topic,), LAST_STATE, True)


def test_what_was_missed_may_be_asked_for() -> None:
    wanted = parse_wanted(b'{"resource_id": "7", "after": 3, "epoch": "e", "consumer": "c"}')
    assert (wanted.after, wanted.epoch, wanted.consumer) == (3, "e", "c")
    pattern = parse_wanted(b'{"resource_id": "doc*"}')
    assert (pattern.topics, pattern.after) == (("resource:updates:doc*",), None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[]", b"true", b'""', b'"a*b"', b'{"resource_id": null}',
     b'{"resource_id": "7", "after": -1}', b'"%b"' % (b"n" * 184), b"{"],
)  # fmt: skip
def test_what_is_no_resource_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_wanted(body)


def test_an_update_is_any_object() -> None:
    assert {k: bytes(v) for k, v in parse_update(b'{"a": 1.50}').items()} == {"a": b"1.50"}
    for body in (b"", b"[]", b"1", b'{"a": 1, "a": 2}'):
        with pytest.raises(Invalid):
            parse_update(body)


@pytest.mark.parametrize("resource", ["", "a*", "a\n", "n" * 184])
def test_not_everything_is_a_resource(resource: str) -> None:
    with pytest.raises(Invalid):
        topic_of(resource)
