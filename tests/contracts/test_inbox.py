"""What every database knows of a topic that somebody reads as an inbox."""

from __future__ import annotations

from typing import Any

from python_pubsub_server.model import Claim, Interest
from python_pubsub_server.storage.database import Retention
from stories import ANY_SIZE, Storage, draft

TOPIC, READER = "notifications:ann", "ann/inbox"


def shown(storage: Storage, limit: int = 100, **more: Any) -> list[tuple[str, float | None]]:
    bounds = {"before": None, "only_unread": False, **more}
    found = storage.reader.inbox(TOPIC, READER, limit, **bounds)
    return [(message.message_id, read_at) for message, read_at in found]


def fill(storage: Storage, count: int) -> None:
    storage.publish(*(draft(TOPIC, str(n)) for n in range(1, count + 1)), draft("other", "x"))


def test_an_inbox_that_is_not_there_is_empty(storage: Storage) -> None:
    assert shown(storage) == []
    assert storage.reader.count_unread(TOPIC, READER) == 0


def test_what_was_confirmed_is_read(storage: Storage) -> None:
    fill(storage, 4)
    assert storage.reader.count_unread(TOPIC, READER) == 4
    storage.claim(Claim(READER, TOPIC, "2"), Claim("bob/inbox", TOPIC, "3"), at=2000.0)
    assert shown(storage) == [("4", None), ("3", None), ("2", 2000.0), ("1", None)]
    assert shown(storage, only_unread=True) == [("4", None), ("3", None), ("1", None)]
    assert storage.reader.count_unread(TOPIC, READER) == 3


def test_it_is_read_in_pages(storage: Storage) -> None:
    fill(storage, 5)
    storage.claim(Claim(READER, TOPIC, "3"))
    assert [name for name, _ in shown(storage, 2, only_unread=True)] == ["5", "4"]
    assert [name for name, _ in shown(storage, 2, only_unread=True, before=4)] == ["2", "1"]
    assert [name for name, _ in shown(storage, 9, before=3)] == ["2", "1"]
    assert shown(storage, before=0) == shown(storage, before=1) == []
    assert len(shown(storage, before=2**80)) == 5


def test_what_retention_took_is_not_unread(storage: Storage) -> None:
    fill(storage, 5)
    storage.claim(Claim(READER, TOPIC, "1"), Claim(READER, TOPIC, "4"))
    while storage.writer.trim(Retention(3, None), 3000.0, 100):
        pass
    assert [name for name, _ in shown(storage)] == ["5", "4", "3"]
    assert storage.reader.count_unread(TOPIC, READER) == 2


def test_an_interest_from_the_start_is_owed_what_came_before_it(storage: Storage) -> None:
    fill(storage, 3)
    storage.claim(Claim(READER, TOPIC, "2"))
    storage.commit(interests=(Interest(READER, TOPIC, from_start=True), Interest("late", TOPIC)))
    page = storage.reader.unconsumed(READER, TOPIC, 0, 100, 100, ANY_SIZE)
    assert [m.message_id for m in page.messages] == ["1", "3"]
    assert storage.reader.count_unconsumed(READER, TOPIC, 100) == 2
    assert storage.reader.count_unconsumed("late", TOPIC, 100) == 0
    while storage.writer.trim(Retention(1, None), 3000.0, 100):
        pass
    assert storage.reader.loss(READER, TOPIC).total == 1  # the second one was read
