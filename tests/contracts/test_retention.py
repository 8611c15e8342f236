"""How every database trims its log."""

from __future__ import annotations

import random

import pytest

from python_pubsub_server.model import Claim, Interest, TopicPosition
from python_pubsub_server.storage.database import Batch, Retention
from stories import WINDOW, Storage, draft


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
        (edge,) = storage.reader.publish_edges(10, 0.0)
        assert (edge.name, edge.count) == ("ann", 4)
        (edge,) = storage.reader.consume_edges(10, 0.0)
        assert (edge.name, edge.count) == ("c", 1)
        publish(storage, 1, at=1_001.0)
        assert storage.reader.count_unconsumed("c", "news", 10) == 1


class TestARetryOfWhatIsDeleted:
    NOW = 1_010.0

    @pytest.fixture(autouse=True)
    def deleted(self, storage: Storage) -> None:
        storage.publish(draft("news", "m1", {"a": 1, "b": 2}), draft("news", "m2", 2), at=1_000.0)
        trim_all(storage, Retention(0, None), self.NOW)
        assert storage.sequences() == []

    def test_is_a_duplicate_with_its_old_place(self, storage: Storage) -> None:
        (published,) = storage.publish(draft("news", "m1", raw='{"b":2, "a":1}'), at=1_119.0)
        assert published.duplicate
        assert (published.message.sequence, published.message.timestamp) == (1, 1_000.0)
        assert storage.sequences() == []

    def test_other_content_is_another_message(self, storage: Storage) -> None:
        known = draft("news", "m1", {"a": 1, "b": 2})
        others = (
            draft("news", "m1", {"a": 1}, fingerprint=known.fingerprint),
            draft("news", "m1", {"a": 1, "b": 2}, "bob", fingerprint=known.fingerprint),
            draft("news", "m3", {"a": 1, "b": 2}),
            draft("other", "m1", {"a": 1, "b": 2}),
        )
        assert not any(each.duplicate for each in storage.publish(*others, at=1_001.0))

    def test_is_a_message_behind_the_window(self, storage: Storage) -> None:
        (published,) = storage.publish(draft("news", "m2", 2), at=1_000.5 + WINDOW)
        assert (published.duplicate, published.message.sequence) == (False, 3)

    def test_is_forgotten_after_the_window(self, storage: Storage) -> None:
        assert trim_all(storage, Retention(0, None), 1_000.0 + WINDOW) == 0
        assert trim_all(storage, Retention(0, None), 1_000.5 + WINDOW, step=1) == 2
        assert trim_all(storage, Retention(0, None), 1_000.5 + WINDOW) == 0


class TestLosses:
    """Which deleted messages a consumer wanted and had not confirmed."""

    def want(self, storage: Storage, consumer: str, *topics: str) -> None:
        storage.commit(interests=tuple(Interest(consumer, topic) for topic in topics))

    def lost(self, storage: Storage, consumer: str = "c", topic: str = "news") -> tuple[int, int]:
        loss = storage.reader.loss(consumer, topic)
        assert (loss.consumer, loss.topic) == (consumer, topic)
        return loss.total, loss.told

    def confirm(self, storage: Storage, *sequences: int, consumer: str = "c") -> None:
        ids = {m.sequence: m.message_id for m in storage.log("news")}
        storage.claim(*(Claim(consumer, "news", ids[n], n) for n in sequences))

    def announce(self, storage: Storage) -> None:
        loss = storage.reader.loss("c", "news")
        storage.writer.commit(Batch(at=1.0, deliveries=[loss]))

    @pytest.mark.parametrize("step", [1, 3, 100])
    def test_are_what_was_not_confirmed(self, storage: Storage, step: int) -> None:
        self.want(storage, "c", "news")
        publish(storage, 10)
        self.confirm(storage, 1, 3, 9)
        self.confirm(storage, 2, consumer="d")
        assert self.lost(storage) == (0, 0)
        trim_all(storage, Retention(6, None), step=step)
        assert self.lost(storage) == (2, 0)
        trim_all(storage, Retention(0, None), step=step)
        assert self.lost(storage) == (7, 0)
        assert self.lost(storage, "d") == (0, 0)
        assert self.lost(storage, "nobody") == self.lost(storage, topic="nothing") == (0, 0)

    def test_are_none_where_all_was_confirmed(self, storage: Storage) -> None:
        self.want(storage, "c", "news")
        publish(storage, 4)
        self.confirm(storage, 1, 2, 3, 4)
        trim_all(storage, Retention(0, None))
        assert self.lost(storage) == (0, 0)

    @pytest.mark.parametrize("step", [1, 2, 100])
    @pytest.mark.parametrize("wanted", ["news", "ne*", "*"])
    def test_begin_with_the_interest(self, storage: Storage, step: int, wanted: str) -> None:
        publish(storage, 4)
        publish(storage, 4, "other")
        self.confirm(storage, 1, 4)
        self.want(storage, "c", wanted)
        trim_all(storage, Retention(2, None), step=step)
        assert self.lost(storage) == (0, 0)
        publish(storage, 4, at=1_001.0)
        self.confirm(storage, 6)
        trim_all(storage, Retention(1, None), step=step)
        assert self.lost(storage) == (2, 0)

    def test_begin_with_the_first_of_several_interests(self, storage: Storage) -> None:
        for n, wanted in enumerate(["ne*", "news", "*"]):
            publish(storage, 2, at=1_000.0 + n)
            self.want(storage, "c", wanted)
        trim_all(storage, Retention(0, None), step=1)
        assert self.lost(storage) == (4, 0)

    def test_of_an_interest_between_two_steps(self, storage: Storage) -> None:
        publish(storage, 3)
        trim_all(storage, Retention(0, None))
        self.want(storage, "c", "news")
        publish(storage, 3, at=1_001.0)
        trim_all(storage, Retention(1, None))
        assert self.lost(storage) == (2, 0)

    def test_of_many_who_came_at_once(self, storage: Storage) -> None:
        """Each step looks at a few of them only."""
        publish(storage, 3)
        for name in range(25):
            self.want(storage, f"c{name}", "news", "n*")
        publish(storage, 3, at=1_001.0)
        trim_all(storage, Retention(1, None), step=4)
        assert storage.sequences() == [6]
        assert {self.lost(storage, f"c{name}") for name in range(25)} == {(2, 0)}

    def test_are_known_once_something_is_confirmed_behind_the_announcement(
        self, storage: Storage
    ) -> None:
        self.want(storage, "c", "news")
        publish(storage, 6)
        trim_all(storage, Retention(4, None))
        self.announce(storage)
        assert self.lost(storage) == (2, 0)  # it may not have arrived
        trim_all(storage, Retention(3, None))
        self.confirm(storage, 6)
        assert self.lost(storage) == (3, 2)  # the third was not announced
        self.announce(storage)
        self.confirm(storage, 6)  # says nothing new
        assert self.lost(storage) == (3, 2)
        self.confirm(storage, 5, consumer="d")
        assert self.lost(storage) == (3, 2)
        self.confirm(storage, 5)
        assert self.lost(storage) == (3, 3)

    def test_a_confirmation_in_the_same_transaction_says_nothing(self, storage: Storage) -> None:
        self.want(storage, "c", "news")
        publish(storage, 3)
        trim_all(storage, Retention(2, None))
        loss = storage.reader.loss("c", "news")
        claim = Claim("c", "news", "1000.0 2", 3)
        storage.writer.commit(Batch(at=1.0, claims=[claim], deliveries=[loss]))
        assert self.lost(storage) == (1, 0)

    def test_are_counted_right_in_any_order(self, storage: Storage) -> None:
        dice = random.Random(11)
        wanted: dict[str, int] = {}
        confirmed: set[tuple[str, int]] = set()
        last = 0
        for turn in range(120):
            consumer = dice.choice(["c", "d", "e"])
            match dice.randrange(5):
                case 0:
                    self.want(storage, consumer, dice.choice(["news", "n*", "*"]))
                    wanted.setdefault(consumer, last)
                case 1 | 2:
                    publish(storage, dice.randrange(1, 5), at=1_000.0 + turn)
                    last = storage.reader.position("news").sequence
                case 3:
                    there = storage.sequences()
                    some = dice.sample(there, min(3, len(there)))
                    self.confirm(storage, *some, consumer=consumer)
                    confirmed |= {(consumer, n) for n in some}
                case 4:
                    keep = dice.randrange(8)
                    trim_all(storage, Retention(keep, None), step=dice.randrange(1, 9))
            first = storage.reader.position("news").first
            for name, since in wanted.items():
                gone = {n for n in range(since + 1, first) if (name, n) not in confirmed}
                assert self.lost(storage, name) == (len(gone), 0)


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
