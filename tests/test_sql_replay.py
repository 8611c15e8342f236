from __future__ import annotations

import pytest
from msgspec import Raw

from python_pubsub_server.model import OVERHEAD, Message
from python_pubsub_server.storage.sql_replay import bounded


class Table:
    """A log with messages of these sizes, that says how many were looked at."""

    def __init__(self, *sizes: int) -> None:
        self.log = [
            Message("t", f"m{n}", Raw(b"x" * (size - OVERHEAD)), "p", 1.0, n)
            for n, size in enumerate(sizes, 1)
        ]
        self.looked_at = 0
        self.reads = 0

    def read(self, after: int, limit: int, max_bytes: int) -> tuple[list[Message], int]:
        rows = self.log[after : after + limit + 1]
        self.reads += 1
        self.looked_at += len(rows)
        size = 0
        page: list[Message] = []
        for row in rows[:limit]:
            size += len(bytes(row.message)) + OVERHEAD
            if page and size > max_bytes:
                break
            page.append(row)
        return page, len(rows)


@pytest.mark.parametrize(
    ("sizes", "limit", "max_bytes", "count", "is_last"),
    [
        ([], 500, 10_000, 0, True),
        ([1_000] * 9, 500, 10_000, 9, True),
        ([1_000] * 90, 500, 10_000, 10, False),
        ([1_000] * 90, 500, 50_000, 50, False),
        ([1_000] * 90, 500, 60_000, 60, False),
        ([1_000] * 50, 500, 50_000, 50, True),
        ([1_000] * 90, 500, 90_000, 90, True),
        ([1_000] * 90, 50, 90_000, 50, False),
        ([1_000] * 90, 60, 90_000, 60, False),
        ([1_000] * 90, 7, 90_000, 7, False),
        ([300] * 50 + [5_000] * 40, 500, 20_000, 51, False),
        ([300] * 50 + [5_001] * 40, 500, 20_000, 50, False),
        ([300] * 50 + [5_000], 500, 20_000, 51, True),
        ([5_000] * 50 + [300] * 400, 500, 270_000, 50 + 8 + 1, False),
        ([5_000] + [300] * 400, 500, 0, 1, False),
    ],
)
def test_a_page_has_what_the_bounds_allow(
    sizes: list[int], limit: int, max_bytes: int, count: int, is_last: bool
) -> None:
    table = Table(*sizes)
    page, is_last_found = bounded(table.read, lambda m: (m.sequence, m), 0, limit, max_bytes)
    assert [message.sequence for message in page] == list(range(1, count + 1))
    assert is_last_found is is_last
    assert table.reads <= 2


def test_large_messages_that_do_not_fit_are_not_looked_at() -> None:
    table = Table(*[20_000] * 2_000)
    page, _ = bounded(table.read, lambda m: (m.sequence, m), 0, 1_000, 2**20)
    assert len(page) == 52
    assert table.looked_at < 120
