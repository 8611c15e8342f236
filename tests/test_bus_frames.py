from __future__ import annotations

import pytest
from msgspec import Raw

from python_pubsub_server.bus.frames import (
    Announcement,
    NotAnAnnouncement,
    decode,
    encode,
    inline_size,
    is_of,
)
from python_pubsub_server.model import Message


def message(sequence: int, text: str = '{"a": [1, 12345678901234567890, "ü"]}') -> Message:
    return Message("news", f"m{sequence}", Raw(text.encode()), "ann", 1678886500.456, sequence)


def test_what_is_encoded_comes_back() -> None:
    for messages in (None, [message(4), message(5)]):
        announcement = Announcement("node", 8, 9, messages)
        assert decode(encode(announcement)) == announcement


def test_a_node_knows_its_own() -> None:
    frame = encode(Announcement("node-1", 1, 1, None))
    assert is_of(frame, "node-1")
    assert not is_of(frame, "node")
    assert not is_of(frame, "node-2")


def test_the_size_is_about_what_it_takes() -> None:
    messages = [message(n, '"' + "x" * 1_000 + '"') for n in range(10)]
    assert 0.5 < inline_size(messages) / len(encode(Announcement("n", 1, 10, messages))) < 2


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b"2 node 1 1\n",
        b"1 node 0 1\n",
        b"1 node 2 1\n",
        b"1 node x 1\n",
        b"1 node 1\n",
        b"1 node 1 2 3\n",
        b"1 node 1 1\n[",
        b"1 node 1 1\n{}",
        b"1 node 1 1\n[{}]",
        b"1 node 1 1\n[]",
        "1 nöde 1 1\n".encode(),
        encode(Announcement("node", 1, 3, [message(1)])),
        b"\xff\xfe",
    ],
)
def test_what_is_none_is_refused(frame: bytes) -> None:
    with pytest.raises(NotAnAnnouncement):
        decode(frame)
