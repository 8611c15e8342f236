"""WebSocket frames. A server's are unmasked, so the same bytes serve every connection."""

from __future__ import annotations

from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
PING: Final = 0x9


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole message or control frame (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def frame_length(data: bytes, start: int) -> int | None:
    """How long the frame is that begins there, with its head; None: that is not told yet."""
    left = len(data) - start
    if left < 2:
        return None
    mask, length = (4 if data[start + 1] & 0x80 else 0), data[start + 1] & 0x7F
    extended = {126: 2, 127: 8}.get(length, 0)
    if left < 2 + extended:
        return None
    if extended:
        length = int.from_bytes(data[start + 2 : start + 2 + extended], "big")
    return 2 + extended + mask + length
