"""How hard the tests try: `TORTURE=full` is what `make torture` runs, `short` is the default."""

from __future__ import annotations

import os

AMOUNT = os.environ.get("TORTURE", "short")
if AMOUNT not in ("short", "full"):
    raise ValueError(f"TORTURE={AMOUNT!r}: write full or short")


def amount(*, short: int, full: int) -> int:
    return full if AMOUNT == "full" else short
