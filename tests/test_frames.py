from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from python_pubsub_server.transport.frames import BINARY, PING, TEXT, frame, frame_length


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_client_reads_back_what_was_framed(opcode: int, size: int) -> None:
    client = Protocol(Side.CLIENT)
    client.receive_data(frame(opcode, b"x" * size) + frame(PING, b"end"))
    read, end = client.events_received()
    assert isinstance(read, Frame) and isinstance(end, Frame)
    assert (int(read.opcode), read.fin, bytes(read.data)) == (opcode, True, b"x" * size)
    assert (int(end.opcode), bytes(end.data)) == (PING, b"end")


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_frames_length_is_known_as_soon_as_its_head_tells_it(size: int, mask: bool) -> None:
    data = Frame(Opcode.TEXT, b"x" * size).serialize(mask=mask)
    head = len(data) - size - (4 if mask else 0)
    told = [frame_length(b"before" + data[:length], 6) for length in range(head + 1)]
    assert told == [None] * head + [len(data)]
