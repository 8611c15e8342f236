"""How much and how long a client may take."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection; times are seen to once every `sweep_seconds`."""

    target_bytes: int = 8_192
    head_bytes: int = 65_536
    headers: int = 100
    body_bytes: int = 2**20  # of a request for which the application names no other bound
    discard_bytes: int = 2**20  # read after a refusal, so that the client sees the answer
    head_seconds: float = 10.0  # for all of a request's head
    body_seconds: float = 60.0  # without another piece of the body
    idle_seconds: float = 75.0  # between two requests
    answer_seconds: float = 60.0  # for the answer of a direct route
    write_seconds: float = 60.0  # without the client taking another piece of an answer
    discard_seconds: float = 5.0
    sweep_seconds: float = 1.0
