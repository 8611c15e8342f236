from __future__ import annotations

import pytest
from websockets.frames import Frame
from websockets.protocol import Protocol, Side

from python_pubsub_server.transport.frames import BINARY, PING, TEXT, frame


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_client_reads_back_what_was_framed(opcode: int, size: int) -> None:
    client = Protocol(Side.CLIENT)
    client.receive_data(frame(opcode, b"x" * size) + frame(PING, b"end"))
    read, end = client.events_received()
    assert isinstance(read, Frame) and isinstance(end, Frame)
    assert (int(read.opcode), read.fin, bytes(read.data)) == (opcode, True, b"x" * size)
    assert (int(end.opcode), bytes(end.data)) == (PING, b"end")
