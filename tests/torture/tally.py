"""What the tests have done to the server, for the end of their report."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections import Counter

import pytest

from .amount import AMOUNT

KEY = pytest.StashKey["Tally"]()


class Tally:
    """Counts by what was counted, in the order of their first mention."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, **counts: int) -> None:
        """`kills=1` is one of the `kills`; an underscore is a space."""
        self.counts.update({name.replace("_", " "): count for name, count in counts.items()})

    def lines(self) -> list[str]:
        mode = os.environ.get("TEST_ASYNC_MODE", "eventlet")
        versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {mode}"
        return [
            f"TORTURE={AMOUNT} on {versions}, {os.cpu_count()} cores",
            *(f"{count:>12,} {what}" for what, count in self.counts.items()),
        ]
