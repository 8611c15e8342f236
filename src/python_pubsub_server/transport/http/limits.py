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
    body_seconds: float = 60.0  # without another piece of the body, and for all of it beside …
    body_bytes_a_second: int = 1_024  # … a second for so much of it
    first_seconds: float = 15.0  # until the first request of a connection begins
    idle_seconds: float = 75.0  # between two requests
    answer_seconds: float = 60.0  # for the answer of a direct route
    write_seconds: float = 60.0  # without the client taking another piece of an answer
    discard_seconds: float = 5.0
    turned_away: int = 100  # connections that are told why, at a time; more are just closed
    sweep_seconds: float = 1.0
