"""How every database trims its log."""

from __future__ import annotations

import random

import pytest

from python_pubsub_server.model import Claim, Interest, TopicPosition
from python_pubsub_server.storage.database import Retention
from stories import Storage, draft


def publish(storage: Storage, count: int, topic: str = "news", at: float = 1000.0) -> None:
    storage.publish(*(draft(topic, f"{at} {n}", f"word{n}") for n in range(count)), at=at)


def trim_all(storage: Storage, retention: Retention, now: float = 0.0, step: int = 100) -> int:
    total = 0
    while deleted := storage.writer.trim(retention, now, step):
        total += deleted
    return total


class TestByNumber:
    @pytest.mark.parametrize(("keep", "left"), [(0, 0), (1, 1), (9, 9), (10, 10), (11, 10)])
    def test_the_newest_are_kept(self, storage: Storage, keep: int, left: int) -> None:
        publish(storage, 10)
        assert trim_all(storage, Retention(keep, None)) == 10 - left
        assert storage.sequences() == list(range(11 - left, 11))
        assert storage.reader.position("news") == TopicPosition("news", 10, 11 - left)

    def test_each_topic_has_its_own_number(self, storage: Storage) -> None:
        for topic, count in (("a", 5), ("b", 2), ("c", 9)):
            publish(storage, count, topic)
        assert trim_all(storage, Retention(3, None)) == 8
        assert [storage.sequences(topic) for topic in "abc"] == [[3, 4, 5], [1, 2], [7, 8, 9]]

    def test_a_step_is_bounded_and_leaves_no_gap(self, storage: Storage) -> None:
        publish(storage, 25)
        left = [25]
        while deleted := storage.writer.trim(Retention(4, None), 0.0, 10):
            assert 0 < deleted <= 10
            left.append(left[-1] - deleted)
            assert storage.sequences() == list(range(26 - left[-1], 26))
            assert storage.reader.position("news").first == 26 - left[-1]
        assert left == [25, 15, 5, 4]

    def test_steps_are_shorter_where_each_message_was_consumed_often(
        self, storage: Storage
    ) -> None:
        publish(storage, 30)
        consumers = [f"c{n}" for n in range(4)]
        storage.claim(*(Claim(name, "news", "1000.0 0") for name in consumers))
        assert storage.writer.trim(Retention(1, None), 0.0, 10) == 2
        assert storage.writer.trim(Retention(1, None), 0.0, 1) == 1  # it always goes on

    def test_sequences_go_on_where_they_were(self, storage: Storage) -> None:
        publish(storage, 3)
        trim_all(storage, Retention(0, None))
        assert storage.sequences() == []
        (published,) = storage.publish(draft(message_id="next"))
        assert published.message.sequence == 4
        assert storage.reader.position("news") == TopicPosition("news", 4, 4)


class TestByAge:
    OLD, NEW, NOW = 1_000.0, 2_000.0, 2_010.0

    def test_the_old_go_and_the_young_stay(self, storage: Storage) -> None:
        publish(storage, 3, at=self.OLD)
        publish(storage, 2, at=self.NEW)
        assert trim_all(storage, Retention(100, 500.0), self.NOW) == 3
        assert storage.sequences() == [4, 5]

    def test_without_an_age_they_stay_for_ever(self, storage: Storage) -> None:
        publish(storage, 3, at=self.OLD)
        assert storage.writer.trim(Retention(100, None), 1e12, 100) == 0

    def test_an_age_on_the_edge_is_kept(self, storage: Storage) -> None:
        publish(storage, 1, at=self.OLD)
        assert storage.writer.trim(Retention(100, 50.0), self.OLD + 50.0, 10) == 0
        assert storage.writer.trim(Retention(100, 50.0), self.OLD + 50.5, 10) == 1

    def test_every_topic_is_trimmed_in_bounded_steps(self, storage: Storage) -> None:
        for topic in "abc":
            publish(storage, 7, topic, at=self.OLD)
        publish(storage, 1, "b", at=self.NEW)
        steps = []
        while deleted := storage.writer.trim(Retention(100, 500.0), self.NOW, 5):
            steps.append(deleted)
        assert max(steps) <= 5
        assert [storage.sequences(topic) for topic in "abc"] == [[], [8], []]

    def test_number_and_age_together(self, storage: Storage) -> None:
        publish(storage, 3, "old", at=self.OLD)
        publish(storage, 9, "long", at=self.NEW)
        assert trim_all(storage, Retention(4, 500.0), self.NOW) == 3 + 5
        assert storage.sequences("old") == []
        assert storage.sequences("long") == [6, 7, 8, 9]

    def test_a_clock_set_back_deletes_nothing_early(self, storage: Storage) -> None:
        publish(storage, 2, at=self.NEW)
        assert storage.writer.trim(Retention(100, 500.0), self.OLD, 10) == 0
        assert storage.sequences() == [1, 2]

    def test_times_that_went_back_in_the_log_leave_no_gap(self, storage: Storage) -> None:
        publish(storage, 2, at=self.OLD)
        publish(storage, 2, at=self.NEW)
        publish(storage, 2, at=self.OLD + 1)
        trim_all(storage, Retention(100, 500.0), self.NOW)
        left = storage.sequences()
        assert left == list(range(7 - len(left), 7))
        assert storage.reader.position("news").first == 7 - len(left)
        trim_all(storage, Retention(100, 500.0), self.NEW + 501)
        assert storage.sequences() == []


class TestWhatGoesWithAMessage:
    def test_its_consumptions(self, storage: Storage) -> None:
        publish(storage, 4)
        storage.claim(*(Claim(name, "news", f"1000.0 {n}") for name in "cd" for n in range(4)))
        trim_all(storage, Retention(1, None))
        listed = [one for _, one in storage.reader.consumptions(100)]
        assert {(one.consumer, one.message_id) for one in listed} == {
            ("c", "1000.0 3"),
            ("d", "1000.0 3"),
        }

    def test_its_words_in_the_index(self, storage: Storage) -> None:
        publish(storage, 6)
        storage.index_all()
        assert storage.found("word1") == ["1000.0 1"]
        trim_all(storage, Retention(3, None))
        assert [storage.found(f"word{n}") for n in range(6)] == [
            [], [], [], ["1000.0 3"], ["1000.0 4"], ["1000.0 5"]
        ]  # fmt: skip

    def test_nothing_when_it_was_not_indexed_yet(self, storage: Storage) -> None:
        publish(storage, 6)
        storage.writer.index(2)
        trim_all(storage, Retention(3, None))
        storage.index_all()
        assert storage.found("word1") == []
        assert storage.found("word4") == ["1000.0 4"]
        assert len(storage.found()) == 3

    def test_the_totals_and_interests_stay(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("c", "news"),))
        publish(storage, 4)
        storage.claim(Claim("c", "news", "1000.0 0"))
        trim_all(storage, Retention(0, None))
        (edge,) = storage.reader.publish_edges(10)
        assert (edge.name, edge.count) == ("ann", 4)
        (edge,) = storage.reader.consume_edges(10)
        assert (edge.name, edge.count) == ("c", 1)
        publish(storage, 1, at=1_001.0)
        assert storage.reader.count_unconsumed("c", "news", 10) == 1

    def test_a_retry_of_it_is_a_new_message(self, storage: Storage) -> None:
        publish(storage, 1)
        trim_all(storage, Retention(0, None))
        (published,) = storage.publish(draft("news", "1000.0 0", "word0"))
        assert (published.duplicate, published.message.sequence) == (False, 2)


def test_whatever_is_published_and_trimmed_the_log_is_one_run(storage: Storage) -> None:
    chance = random.Random(7)
    last = dict.fromkeys("ab", 0)
    now = 1_000.0
    for turn in range(60):
        now += chance.choice((-50.0, 0.0, 100.0))
        topic = chance.choice("ab")
        count = chance.randrange(1, 6)
        drafts = (draft(topic, f"{turn} {n}") for n in range(count))
        for published in storage.publish(*drafts, at=now):
            last[topic] += 1
            assert published.message.sequence == last[topic]
        retention = Retention(chance.randrange(0, 9), chance.choice((None, 150.0)))
        storage.writer.trim(retention, now, chance.randrange(1, 5))
        for name, sequence in last.items():
            position = storage.reader.position(name)
            assert position.sequence == sequence
            assert storage.sequences(name) == list(range(position.first, sequence + 1))
