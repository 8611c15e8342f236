"""What every database gives to those who missed something, a page at a time."""

from __future__ import annotations

import json
from random import Random

import pytest

from python_pubsub_server.model import Claim, Interest, Message, Page
from python_pubsub_server.storage.database import Retention
from stories import ANY_SIZE, Storage, draft

FAR = 2**62


def numbers(page: Page) -> list[int]:
    return [message.sequence for message in page.messages]


def publish(storage: Storage, count: int, topic: str = "news") -> None:
    storage.publish(*(draft(topic, f"m{n}", n) for n in range(count)))


def unconsumed(
    storage: Storage,
    consumer: str = "carl",
    topic: str = "news",
    after: int = 0,
    last: int = FAR,
    limit: int = 1000,
    max_bytes: int = ANY_SIZE,
) -> Page:
    return storage.reader.unconsumed(consumer, topic, after, last, limit, max_bytes)


def count(storage: Storage, consumer: str = "carl", topic: str = "news", limit: int = 1000) -> int:
    return storage.reader.count_unconsumed(consumer, topic, limit)


def consume(storage: Storage, *sequences: int, consumer: str = "carl") -> list[int | None]:
    return storage.claim(*(Claim(consumer, "news", f"m{n - 1}", n) for n in sequences))


class TestTheWholeLog:
    def test_it_comes_in_the_order_of_its_positions(self, storage: Storage) -> None:
        storage.publish(draft("a", "m1", 1), draft("b", "m2", {"x": 1}))
        storage.publish(draft("a", "m3", "ü\u0000"))
        stretch = storage.reader.stretch(0, 10, ANY_SIZE)
        assert [at for at, _ in stretch.messages] == [1, 2, 3]
        log = {topic: storage.log(topic) for topic in "ab"}
        assert [m for _, m in stretch.messages] == [log["a"][0], log["b"][0], log["a"][1]]
        assert (stretch.through, stretch.is_last) == (3, True)

    def test_pages_join(self, storage: Storage) -> None:
        for n in range(10):
            publish(storage, 1, f"topic-{n % 3}-{n}")
        seen, after = [], 0
        while True:
            stretch = storage.reader.stretch(after, 3, ANY_SIZE)
            seen += [at for at, _ in stretch.messages]
            after = stretch.through
            if stretch.is_last:
                break
        assert seen == list(range(1, 11))
        assert after == storage.reader.last_position() == 10

    @pytest.mark.parametrize(("max_bytes", "found"), [(1, 1), (2_500, 2)])
    def test_a_page_is_bounded_by_bytes(self, storage: Storage, max_bytes: int, found: int) -> None:
        storage.publish(*(draft("news", f"m{n}", "x" * 1_000) for n in range(5)))
        stretch = storage.reader.stretch(0, 100, max_bytes)
        assert len(stretch.messages) == found
        assert (stretch.through, stretch.is_last) == (found, False)

    def test_what_was_trimmed_is_missing_and_spoken_for(self, storage: Storage) -> None:
        publish(storage, 5, "a")
        publish(storage, 1, "b")
        storage.publish(draft("a", "m5", 5), draft("a", "m6", 6))
        storage.writer.trim(Retention(1, None), 2000.0, 100)
        stretch = storage.reader.stretch(3, 100, ANY_SIZE)
        assert [at for at, _ in stretch.messages] == [6, 8]
        assert stretch.through == 8
        storage.writer.trim(Retention(1_000, 0.001), 2000.0, 100)
        storage.writer.trim(Retention(1_000, 0.001), 2000.0, 100)
        stretch = storage.reader.stretch(3, 100, ANY_SIZE)
        assert (stretch.messages, stretch.through, stretch.is_last) == ([], 8, True)

    def test_an_empty_log_and_its_end(self, storage: Storage) -> None:
        stretch = storage.reader.stretch(0, 100, ANY_SIZE)
        assert (stretch.messages, stretch.through, stretch.is_last) == ([], 0, True)
        publish(storage, 2)
        stretch = storage.reader.stretch(2, 100, ANY_SIZE)
        assert (stretch.messages, stretch.through, stretch.is_last) == ([], 2, True)


class TestTheLog:
    def test_pages_join_without_gap_or_repetition(self, storage: Storage) -> None:
        publish(storage, 10)
        found: list[Message] = []
        while True:
            after = found[-1].sequence if found else 0
            page = storage.reader.log("news", after, 3, ANY_SIZE)
            found += page.messages
            if page.is_last:
                break
        assert found == storage.log("news")
        assert [m.sequence for m in found] == list(range(1, 11))

    @pytest.mark.parametrize(("limit", "is_last"), [(2, False), (3, True), (4, True)])
    def test_a_full_page_knows_whether_it_is_the_last(
        self, storage: Storage, limit: int, is_last: bool
    ) -> None:
        publish(storage, 3)
        assert storage.reader.log("news", 0, limit, ANY_SIZE).is_last is is_last

    def test_nothing_is_a_last_page(self, storage: Storage) -> None:
        publish(storage, 3)
        for topic, after in (("news", 3), ("news", 9), ("news", FAR), ("never", 0)):
            assert storage.reader.log(topic, after, 10, ANY_SIZE) == Page([], is_last=True)

    def test_a_page_has_one_message_however_long(self, storage: Storage) -> None:
        storage.publish(*(draft(message_id=str(n), message="x" * 5_000) for n in range(3)))
        for max_bytes in (0, 1, 5_000):
            page = storage.reader.log("news", 0, 10, max_bytes)
            assert (numbers(page), page.is_last) == ([1], False)
        page = storage.reader.log("news", 2, 10, 1)
        assert (numbers(page), page.is_last) == ([3], True)

    def test_a_page_ends_before_the_message_that_would_be_too_much(self, storage: Storage) -> None:
        sizes = [10_000, 10_000, 40_000, 10]
        storage.publish(*(draft(message_id=str(n), message="x" * s) for n, s in enumerate(sizes)))
        page = storage.reader.log("news", 0, 10, 30_000)
        assert (numbers(page), page.is_last) == ([1, 2], False)
        page = storage.reader.log("news", 2, 10, 30_000)
        assert (numbers(page), page.is_last) == ([3], False)

    @pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
    def test_the_bound_is_in_bytes_whatever_the_alphabet(
        self, storage: Storage, letter: str
    ) -> None:
        text = json.dumps(letter * 1_000, ensure_ascii=False)
        storage.publish(*(draft(message_id=str(n), raw=text) for n in range(40)))
        page = storage.reader.log("news", 0, 100, 30_000)
        size = sum(len(bytes(message.message)) for message in page.messages)
        assert 15_000 < size <= 30_000

    def test_messages_come_out_of_a_page_as_they_went_in(self, storage: Storage) -> None:
        texts = [
            '"\\u0000 \\" é 😀"',
            '{"a": [1, 2.50, 1e3], "a b": null}',
            "12345678901234567890123",
        ]
        name = "Zoë 🎈 'quoted\" \\ %_* "
        storage.publish(*(draft(name, name + str(n), None, name, t) for n, t in enumerate(texts)))
        page = storage.reader.log(name, 0, 10, ANY_SIZE)
        assert [bytes(m.message).decode() for m in page.messages] == texts
        assert {(m.topic, m.producer, m.timestamp) for m in page.messages} == {(name, name, 1000.0)}
        assert [m.message_id for m in page.messages] == [name + str(n) for n in range(3)]

    def test_a_timestamp_is_the_very_same_number(self, storage: Storage) -> None:
        random = Random(1)
        times = [0.001, 1 / 3, 0.1 + 0.2, 1678886500.456, 1e11]
        times += [random.uniform(1.0, 2e9) for _ in range(25)]
        for at in sorted(times):
            storage.publish(draft(message_id=repr(at)), at=at)
        assert [message.timestamp for message in storage.log("news")] == sorted(times)

    def test_time_does_not_go_back_in_a_log(self, storage: Storage) -> None:
        """Nodes whose clocks differ write to one log."""
        storage.publish(draft("a", "m1"), at=1000.0)
        (second,) = storage.publish(draft("b", "m2"), at=900.0)
        assert second.message.timestamp == 1000.0
        (again,) = storage.publish(draft("b", "m2"), at=800.0)
        assert again.duplicate
        assert storage.log("b") == [second.message]


class TestUnconsumed:
    def test_it_is_what_came_since_the_first_interest(self, storage: Storage) -> None:
        publish(storage, 3)
        storage.commit(interests=(Interest("carl", "news"),))
        publish(storage, 2, "news")
        publish(storage, 2, "other")
        storage.commit(interests=(Interest("carl", "news"),))  # said again: changes nothing
        storage.publish(draft(message_id="x"), draft(message_id="y"))
        assert numbers(unconsumed(storage)) == [4, 5]
        assert count(storage) == 2

    def test_without_an_interest_there_is_nothing(self, storage: Storage) -> None:
        publish(storage, 3)
        assert unconsumed(storage) == Page([], is_last=True)
        storage.commit(interests=(Interest("carl", "other"), Interest("dora", "news")))
        assert unconsumed(storage) == unconsumed(storage, topic="never") == Page([], is_last=True)
        assert count(storage) == count(storage, topic="never") == count(storage, "nobody") == 0

    def test_consumptions_out_of_order_leave_holes(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"),))
        publish(storage, 6)
        consume(storage, 5, 2)
        assert numbers(unconsumed(storage)) == [1, 3, 4, 6]
        consume(storage, 1, 6)
        assert numbers(unconsumed(storage)) == [3, 4]
        assert count(storage) == 2

    def test_a_repeated_consumption_changes_nothing(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"),))
        publish(storage, 3)
        assert consume(storage, 2, 2) == [1, 0]
        assert consume(storage, 2) == [0]
        assert numbers(unconsumed(storage)) == [1, 3]

    def test_consumers_do_not_consume_for_each_other(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"), Interest("dora", "news")))
        publish(storage, 2)
        consume(storage, 1, consumer="dora")
        assert numbers(unconsumed(storage)) == [1, 2]
        assert numbers(unconsumed(storage, "dora")) == [2]

    @pytest.mark.parametrize(
        ("pattern", "is_covering"),
        [("*", True), ("n*", True), ("news*", True), ("new", False), ("newspaper*", False)],
    )
    def test_a_pattern_is_an_interest_too(
        self, storage: Storage, pattern: str, is_covering: bool
    ) -> None:
        storage.commit(interests=(Interest("carl", pattern),))
        publish(storage, 2)
        assert count(storage) == (2 if is_covering else 0)

    def test_the_earliest_of_several_interests_counts(self, storage: Storage) -> None:
        publish(storage, 1)
        storage.commit(interests=(Interest("carl", "ne*"),))
        storage.publish(draft(message_id="x"))
        storage.commit(interests=(Interest("carl", "news"), Interest("carl", "*")))
        storage.publish(draft(message_id="y"))
        assert numbers(unconsumed(storage)) == [2, 3]

    def test_it_is_bounded_on_both_sides_and_counted_to_a_limit(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"),))
        publish(storage, 9)
        consume(storage, 4)
        page = unconsumed(storage, after=2, last=6)
        assert (numbers(page), page.is_last) == ([3, 5, 6], True)
        page = unconsumed(storage, after=2, last=6, limit=2)
        assert (numbers(page), page.is_last) == ([3, 5], False)
        assert [count(storage, limit=n) for n in (1, 8, 9)] == [1, 8, 8]

    def test_pages_are_bounded_by_bytes_with_one_message_at_least(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"),))
        storage.publish(*(draft(message_id=f"m{n}", message="x" * 1_000) for n in range(6)))
        consume(storage, 2)
        page = unconsumed(storage, max_bytes=3_000)
        assert (numbers(page), page.is_last) == ([1, 3], False)
        assert numbers(unconsumed(storage, after=3, max_bytes=0)) == [4]
        assert unconsumed(storage, after=5, max_bytes=0).is_last

    def test_what_was_trimmed_is_not_wanted_any_more(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("carl", "news"),))
        publish(storage, 6)
        consume(storage, 5)
        while storage.writer.trim(Retention(3, None), 0.0, 100):
            pass
        assert numbers(unconsumed(storage)) == [4, 6]
        assert count(storage) == 2

    def test_an_interest_of_long_ago_finds_its_place_after_trimming(self, storage: Storage) -> None:
        publish(storage, 4)
        storage.commit(interests=(Interest("carl", "news"),))
        storage.publish(*(draft(message_id=f"n{n}") for n in range(4)))
        while storage.writer.trim(Retention(5, None), 0.0, 100):
            pass
        assert numbers(unconsumed(storage)) == [5, 6, 7, 8]
        while storage.writer.trim(Retention(0, None), 0.0, 100):
            pass
        assert count(storage) == 0
        storage.publish(draft(message_id="new"))
        assert numbers(unconsumed(storage)) == [9]
