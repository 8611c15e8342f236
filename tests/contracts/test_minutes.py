"""How every database keeps the minutes of nodes."""

from __future__ import annotations

from python_pubsub_server.model import NodeMinute
from stories import Storage


def minute(number: int, node_id: str = "a") -> NodeMinute:
    return NodeMinute(number, node_id, "host", f'{{"é": [{number}, 1]}}')


def test_minutes_are_read_latest_first_within_their_bounds(storage: Storage) -> None:
    for number in (7, 5, 6):
        storage.writer.keep_minute(minute(number), 0)
        storage.writer.keep_minute(minute(number, "b"), 0)
    assert storage.reader.minutes(5, 7, None, 10) == [
        minute(6),
        minute(6, "b"),
        minute(5),
        minute(5, "b"),
    ]
    assert storage.reader.minutes(0, 99, "b", 2) == [minute(7, "b"), minute(6, "b")]
    assert storage.reader.minutes(0, 99, "c", 10) == []
    assert storage.reader.minutes(-5, 10**30, "a", 1) == [minute(7)]


def test_a_minute_is_kept_once_and_old_ones_go(storage: Storage) -> None:
    storage.writer.keep_minute(minute(5), 0)
    storage.writer.keep_minute(NodeMinute(5, "a", "other", "{}"), 0)
    assert storage.reader.minutes(0, 99, None, 10) == [minute(5)]
    storage.writer.keep_minute(minute(8, "b"), 6)
    assert storage.reader.minutes(0, 99, None, 10) == [minute(8, "b")]
