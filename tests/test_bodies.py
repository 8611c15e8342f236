from __future__ import annotations

import msgspec
import pytest

from python_pubsub_server.bodies import draft_of, read_object
from python_pubsub_server.errors import Invalid
from python_pubsub_server.wire import parse_draft


class Ask(msgspec.Struct, frozen=True):
    room: str
    limit: int = 10


def test_an_object_of_the_shape_is_read() -> None:
    assert read_object(b'{"room": "hall", "more": 1}', Ask, "") == Ask("hall", 10)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Missing required field: room"),
        (b'{"limit": 3}', "Missing required field: room"),
        (b'{"room": 1}', "No: Expected `str`, got `int` - at `$.room`."),
        (b"[]", "No: Expected `object`, got `array`."),
    ],
)
def test_what_is_wrong_is_said(body: bytes, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        read_object(body, Ask, "No: {error}.")
    assert raised.value.message == message


def test_what_is_no_json_is_refused_as_everywhere() -> None:
    with pytest.raises(Invalid) as raised:
        read_object(b'{"room": ', Ask, "No")
    assert "JSON" in raised.value.message


def test_a_draft_is_the_one_that_the_same_publish_makes() -> None:
    body = b'{"topic": "a", "message_id": "m", "message": {"n": 1}, "producer": "server"}'
    made = draft_of("a", "m", b'{"n": 1}', "server")
    parsed = parse_draft(body, 1_000)
    assert bytes(made.message) == bytes(parsed.message)
    assert (made.topic, made.message_id, made.producer) == ("a", "m", "server")
    assert made.fingerprint == parsed.fingerprint
