from __future__ import annotations

import pytest

from python_pubsub_server.errors import Invalid
from python_pubsub_server.votes import Ballot, parse_ballot, parse_wanted


@pytest.mark.parametrize("value", [1, -1, 0])
def test_a_ballot_is_read(value: int) -> None:
    assert parse_ballot(b'{"value": %d, "more": 1}' % value) == Ballot(value)  # type: ignore[arg-type]
    assert parse_ballot(b'{"value": %d, "user": "ann"}' % value).user == "ann"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Missing required field: value"),
        (b"{}", "Missing required field: value"),
        (b'{"value": 2}', "must be 1, -1, or 0"),
        (b'{"value": true}', "must be 1, -1, or 0"),
        (b'{"value": "1"}', "must be 1, -1, or 0"),
        (b'{"value": 1, "value": -1}', "twice"),
        (b"1", "must be 1, -1, or 0"),
    ],
)
def test_what_is_no_ballot_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        parse_ballot(body)


def test_votes_are_subscribed_to_by_themselves() -> None:
    for body in (b"", b" null", b"{}", b'{"type": "subscribe:suggestions", "topics": ["x"]}'):
        wanted = parse_wanted(body)
        assert (wanted.topics, wanted.after, wanted.consumer) == (
            ("suggestions:votes",),
            None,
            None,
        )
    wanted = parse_wanted(b'{"consumer": "c", "after": "consumed", "epoch": "e"}')
    assert (wanted.consumer, wanted.after, wanted.epoch) == ("c", "consumed", "e")
    for wrong in (b"[]", b'"x"', b'{"after": -1}'):
        with pytest.raises(Invalid):
            parse_wanted(wrong)
