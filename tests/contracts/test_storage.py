"""What every database does. A backend is what passes this."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from python_pubsub_server.model import Claim, Edge, Interest, TopicPosition, TopicSummary
from python_pubsub_server.storage.database import Batch, Retention, open_database
from stories import WINDOW, Storage, content, draft

Pages = Callable[[Callable[[int | None], list[tuple[int, Any]]]], list[Any]]


def test_sequences_follow_the_order_of_the_drafts_in_each_topic(storage: Storage) -> None:
    published = storage.publish(
        draft("a", "1"), draft("b", "2"), draft("a", "3"), draft("b", "4"), draft("a", "5")
    )
    assert [one.message.sequence for one in published] == [1, 1, 2, 2, 3]
    (later,) = storage.publish(draft("a", "6"))
    assert later.message.sequence == 4
    assert [m.message_id for m in storage.log("a", 0, 10)] == ["1", "3", "5", "6"]


@pytest.mark.parametrize("size", [1, 2, 31, 100, 511, 1500])
def test_a_batch_of_any_size_is_stored_whole(storage: Storage, size: int) -> None:
    drafts = [draft(f"topic {n % 7}", str(n), {"n": n}, f"producer {n % 5}") for n in range(size)]
    storage.publish(*drafts)
    found = [m for topic in range(7) for m in storage.log(f"topic {topic}", 0, size)]
    assert {m.message_id: content(m) for m in found} == {str(n): {"n": n} for n in range(size)}
    assert sum(edge.count for edge in storage.reader.publish_edges(100, 0.0)) == size


@pytest.mark.parametrize(
    "text",
    [
        "null", "0", '""', "{}", "[]", "false", "12345678901234567890123456789", "1.50", "1e3",
        '"\\u00e9 \\ud83d\\ude00"', '"é 😀"', '{ "b": 1,  "a": [ ] }', '"\\u0000"',
    ],
)  # fmt: skip
def test_a_message_comes_back_as_it_was_written(storage: Storage, text: str) -> None:
    (published,) = storage.publish(draft(raw=text))
    assert bytes(published.message.message).decode() == text
    (stored,) = storage.log("news", 0, 1)
    assert bytes(stored.message).decode() == text
    assert (stored.producer, stored.timestamp) == ("ann", 1000.0)


def test_names_may_hold_any_character(storage: Storage) -> None:
    name = "Zoë 🎈 'quoted\" \\ %_* "
    storage.commit(
        drafts=(draft(name, name, 1, name),),
        interests=(Interest(name, name),),
        claims=(Claim(name, name, name),),
    )
    assert storage.found(topic=name, producer=name) == [name]
    ((_, consumption),) = storage.reader.consumptions(9, topic=name, consumer=name)
    assert consumption.message_id == name


class TestDeduplication:
    def test_a_retry_is_answered_with_the_first_message(self, storage: Storage) -> None:
        (first,) = storage.publish(draft(message={"a": 1, "b": 2}), at=1000.0)
        (retry,) = storage.publish(draft(raw='{"b":2, "a":1}'), at=1000.0 + WINDOW)
        assert (retry.duplicate, retry.message.sequence, retry.message.timestamp) == (
            True, 1, 1000.0,
        )  # fmt: skip
        assert first.duplicate is False
        assert storage.sequences() == [1]

    def test_after_the_window_it_is_another_message(self, storage: Storage) -> None:
        storage.publish(draft(), at=1000.0)
        (late,) = storage.publish(draft(), at=1000.5 + WINDOW)
        assert (late.duplicate, late.message.sequence) == (False, 2)

    def test_a_duplicate_does_not_lengthen_the_window(self, storage: Storage) -> None:
        answers = [storage.publish(draft(), at=at)[0] for at in (1000.0, 1100.0, 1150.0)]
        assert [answer.duplicate for answer in answers] == [False, True, False]

    def test_within_one_batch(self, storage: Storage) -> None:
        published = storage.publish(draft(message=1), draft(message=2), draft(message=1))
        assert [one.duplicate for one in published] == [False, False, True]
        assert published[2].message.sequence == 1
        assert storage.sequences() == [1, 2]

    @pytest.mark.parametrize(
        "other",
        [
            draft(message={"n": 2}),
            draft(message={"n": 1}, producer="bob"),
            draft(message={"n": 1}, message_id="m2"),
            draft(message={"n": 1}, topic="sport"),
            draft(message={"n": True}),
        ],
    )
    def test_another_content_producer_id_or_topic_is_another_message(
        self, storage: Storage, other: Any
    ) -> None:
        published = storage.publish(draft(message={"n": 1}), other)
        assert [one.duplicate for one in published] == [False, False]

    def test_equal_fingerprints_alone_are_no_proof(self, storage: Storage) -> None:
        storage.publish(draft(message=1, fingerprint=7))
        published = storage.publish(
            draft(message=2, fingerprint=7),
            draft(message=1, producer="bob", fingerprint=7),
            draft(message=1, fingerprint=7),
        )
        assert [one.duplicate for one in published] == [False, False, True]

    def test_duplicates_are_not_counted(self, storage: Storage) -> None:
        storage.publish(draft(), at=1000.0)
        storage.publish(draft(), at=1001.0)
        assert storage.reader.publish_edges(9, 0.0) == [Edge("ann", "news", 1, 1000.0)]

    def test_it_can_be_off(self, database_url: str) -> None:
        storage = Storage(open_database(database_url, deduplication_seconds=0))
        published = storage.publish(draft(), draft())
        assert [one.duplicate for one in published] == [False, False]
        storage.close()


class TestConsumptions:
    def test_a_claim_with_a_sequence_speaks_of_one_message(self, storage: Storage) -> None:
        storage.publish(draft(message=1), draft(message=2))
        assert storage.claim(Claim("bo", "news", "m1", 2)) == [1]
        ((_, consumption),) = storage.reader.consumptions(9)
        assert (consumption.consumer, consumption.topic, consumption.message_id) == (
            "bo", "news", "m1",
        )  # fmt: skip
        assert (json.loads(bytes(consumption.message)), consumption.timestamp) == (2, 2000.0)

    def test_without_one_it_speaks_of_every_message_with_that_id(self, storage: Storage) -> None:
        storage.publish(draft(message=1), draft(message=2), draft(message_id="m2"))
        assert storage.claim(Claim("bo", "news", "m1")) == [2]

    def test_a_repeat_counts_once(self, storage: Storage) -> None:
        storage.publish(draft())
        claim = Claim("bo", "news", "m1", 1)
        assert storage.claim(claim, claim, Claim("bo", "news", "m1")) == [1, 0, 0]
        assert storage.claim(claim, at=3000.0) == [0]
        assert storage.reader.consume_edges(9, 0.0) == [Edge("bo", "news", 1, 2000.0, 0)]

    def test_each_consumer_counts_for_itself(self, storage: Storage) -> None:
        storage.publish(draft())
        claims = [Claim(f"consumer {n}", "news", "m1") for n in range(700)]
        assert storage.claim(*claims) == [1] * 700
        assert len(storage.reader.consumptions(1000, consumer="consumer 3")) == 1

    @pytest.mark.parametrize(
        "claim",
        [
            Claim("bo", "nowhere", "m1"),
            Claim("bo", "news", "m9"),
            Claim("bo", "news", "m1", 2),
            Claim("bo", "news", "m9", 1),
            Claim("bo", "news", "m1", -1),
            Claim("bo", "news", "m1", 10**30),
        ],
    )
    def test_a_claim_about_nothing_is_answered_with_none(
        self, storage: Storage, claim: Claim
    ) -> None:
        storage.publish(draft())
        assert storage.claim(claim, Claim("bo", "news", "m1")) == [None, 1]
        assert storage.reader.consume_edges(9, 0.0) == [Edge("bo", "news", 1, 2000.0, 0)]

    def test_a_message_can_be_claimed_in_the_batch_that_stores_it(self, storage: Storage) -> None:
        committed = storage.commit(drafts=(draft(),), claims=(Claim("bo", "news", "m1"),))
        assert list(committed.claimed) == [1]

    def test_an_interest_is_kept_from_the_first_time_on(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("bo", "news"), Interest("bo", "news")))
        storage.publish(draft())
        storage.commit(interests=(Interest("bo", "news"), Interest("bo", "*")))
        known = [(each.consumer, each.topic) for each in storage.reader.interests(9)]
        assert sorted(known) == [("bo", "*"), ("bo", "news")]
        assert storage.reader.count_unconsumed("bo", "news", 9) == 1


class TestTotals:
    def test_topics_are_counted_without_reading_the_log(self, storage: Storage) -> None:
        storage.publish(draft("b", "1"), draft("a", "2"), draft("a", "3", producer="bob"))
        assert storage.reader.topics() == [
            TopicSummary("a", 2, 2, 2, 1000.0),
            TopicSummary("b", 1, 1, 1, 1000.0),
        ]

    def test_edges_that_are_out_of_use_come_most_recent_first(self, storage: Storage) -> None:
        storage.publish(draft("a"), at=1.0)
        storage.publish(draft("b"), at=2.0)
        storage.publish(draft("a", "m2"), at=3.0)
        edges = [Edge("ann", "a", 2, 3.0), Edge("ann", "b", 1, 2.0)]
        assert storage.reader.publish_edges(9, 4.0) == edges
        assert storage.reader.publish_edges(1, 4.0) == edges[:1]

    def test_edges_that_are_in_use_keep_their_order(self, storage: Storage) -> None:
        storage.publish(draft("old"), at=1.0)
        storage.publish(draft("a", producer="bob"), draft("a"), draft("b"), at=10.0)
        storage.claim(Claim("bo", "a", "m1"), at=10.0)
        storage.claim(Claim("bo", "b", "m1"), at=11.0)
        for at, topic in ((12.0, "b"), (13.0, "a")):
            storage.publish(draft(topic, f"at {at}"), at=at)
            found = [(edge.name, edge.topic) for edge in storage.reader.publish_edges(9, 10.0)]
            assert found == [("ann", "a"), ("bob", "a"), ("ann", "b"), ("ann", "old")]
            assert [edge.topic for edge in storage.reader.consume_edges(9, 10.0)] == ["a", "b"]
        assert len(storage.reader.publish_edges(3, 10.0)) == 3

    def test_a_consumer_lags_by_what_came_after_what_it_confirmed(self, storage: Storage) -> None:
        storage.publish(*(draft(message_id=f"m{n}", message=n) for n in range(1, 6)))
        storage.claim(Claim("bo", "news", "m2"), Claim("cy", "news", "m4"), at=5.0)
        storage.claim(Claim("bo", "news", "m1"), Claim("bo", "news", "m3"), at=6.0)
        edges = storage.reader.consume_edges(9, 0.0)
        assert edges == [Edge("bo", "news", 3, 6.0, 2), Edge("cy", "news", 1, 5.0, 1)]

    def test_who_wanted_what_is_known_latest_first(self, storage: Storage) -> None:
        storage.commit(interests=(Interest("bo", "news"),), at=1.0)
        storage.commit(interests=(Interest("cy", "a*"), Interest("bo", "news")), at=2.0)
        assert storage.reader.interests(9) == [Interest("cy", "a*"), Interest("bo", "news")]
        assert storage.reader.interests(1) == [Interest("cy", "a*")]

    def test_an_empty_log(self, storage: Storage) -> None:
        reader = storage.reader
        reader.ping()
        assert reader.last_timestamp() == 0.0
        assert reader.position("news") == TopicPosition("news", 0, 1)
        assert (reader.topics(), reader.positions("*"), storage.log("news")) == ([], [], [])
        assert storage.found() == storage.found("x") == []
        assert reader.consumptions(9, topic="news", consumer="bo") == []

    def test_time_does_not_go_back_within_a_batch(self, storage: Storage) -> None:
        drafts = [draft(message_id=f"m{n}") for n in range(3)]
        storage.writer.commit(Batch(9.0, (), drafts, [5.0, 3.0, 6.0]))
        assert [message.timestamp for message in storage.log("news")] == [5.0, 5.0, 6.0]
        assert storage.reader.last_timestamp() == 6.0

    def test_the_last_timestamp_stays_when_its_message_goes(self, storage: Storage) -> None:
        storage.publish(draft(), at=7.0)
        while storage.writer.trim(Retention(0, None), 8.0, 10):
            pass
        assert storage.sequences() == []
        assert storage.reader.last_timestamp() == 7.0

    def test_the_last_timestamp_is_that_of_the_newest_message(self, storage: Storage) -> None:
        storage.publish(draft("a"), at=5.0)
        storage.publish(draft("b"), at=7.0)
        assert storage.reader.last_timestamp() == 7.0


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("*", ["chat", "chat:a", "chat:b", "news"]),
        ("chat:*", ["chat:a", "chat:b"]),
        ("chat*", ["chat", "chat:a", "chat:b"]),
        ("$*", ["$own"]),
        ("news", ["news"]),
        ("new", []),
        ("%*", []),
    ],
)
def test_positions_of_a_pattern(storage: Storage, pattern: str, covered: list[str]) -> None:
    storage.publish(*(draft(topic) for topic in ("news", "chat:b", "chat:a", "$own", "chat")))
    assert storage.reader.positions(pattern) == [TopicPosition(t, 1, 1) for t in covered]


def test_the_log_is_read_oldest_first_after_a_sequence(storage: Storage) -> None:
    storage.publish(*(draft(message_id=str(n)) for n in range(1, 10)), draft("other", "x"))
    assert [m.sequence for m in storage.log("news", 3, 4)] == [4, 5, 6, 7]
    assert storage.log("news", 9, 4) == []
    assert storage.log("news", 10**40, 4) == []
    assert len(storage.log("news", -5, 100)) == 9


@pytest.mark.parametrize("topic", [None, "t0", "t1", "nowhere"])
@pytest.mark.parametrize("producer", [None, "p0", "p2", "nobody"])
@pytest.mark.parametrize("text", [None, "hello"])
def test_listing_messages_page_by_page(
    storage: Storage, many_pages: Pages, topic: str | None, producer: str | None, text: str | None
) -> None:
    drafts = [
        draft(f"t{n % 2}", str(n), "hello" if n % 5 else "bye", f"p{n % 3}") for n in range(60)
    ]
    for n in range(0, 60, 20):
        storage.publish(*drafts[n : n + 20])
    expected = [
        one.message_id
        for one in reversed(drafts)
        if topic in (None, one.topic)
        and producer in (None, one.producer)
        and (text is None or b"hello" in bytes(one.message))
    ]
    for _ in range(2):
        listed = many_pages(lambda b: storage.reader.messages(4, topic, producer, text, b))
        assert [message.message_id for message in listed] == expected
        storage.index_all()


@pytest.mark.parametrize("topic", [None, "t0", "nowhere"])
@pytest.mark.parametrize("consumer", [None, "c1", "nobody"])
def test_listing_consumptions_page_by_page(
    storage: Storage, many_pages: Pages, topic: str | None, consumer: str | None
) -> None:
    storage.publish(*(draft(f"t{n % 2}", str(n)) for n in range(40)))
    claims = [Claim(f"c{n % 3}", f"t{n % 2}", str(n)) for n in range(40)]
    storage.claim(*claims)
    expected = [
        one.message_id
        for one in reversed(claims)
        if topic in (None, one.topic) and consumer in (None, one.consumer)
    ]
    listed = many_pages(lambda before: storage.reader.consumptions(3, topic, consumer, before))
    assert [consumption.message_id for consumption in listed] == expected


@pytest.fixture(params=["before it is indexed", "after it is indexed"])
def library(request: pytest.FixtureRequest, storage: Storage) -> Storage:
    """Some messages to search in, with and without the index."""
    storage.publish(
        draft("kitchen", "tea", {"order": "Two cups of Earl Grey"}, "waiter-1"),
        draft("kitchen", "coffee", raw='{"order": "Caf\\u00e9 cr\\u00e8me", "count": 3}'),
        draft("garden", "news-7", ["Roses", "in bloom", 1984]),
        draft("garden", "party", "🎉 東京 100%_sure"),
    )
    if request.param == "after it is indexed":
        storage.index_all()
    return storage


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("earl", ["tea"]),
        ("EARL grey", ["tea"]),
        ("grey earl", ["tea"]),
        ("ear gre", ["tea"]),
        ("arl", []),
        ("earl roses", []),
        ("café", ["coffee"]),
        ("cafe creme", ["coffee"]),
        ("waiter", ["tea"]),
        ("garden", ["party", "news-7"]),
        ("news-7", ["news-7"]),
        ("198", ["news-7"]),
        ("order", ["coffee", "tea"]),
        ("🎉", ["party"]),
        ("京", ["party"]),
        ("   ", ["party", "news-7", "coffee", "tea"]),
    ],
)
def test_search(library: Storage, text: str, ids: list[str]) -> None:
    assert library.found(text) == ids


def test_search_within_a_topic_and_a_producer(library: Storage) -> None:
    assert library.found("order", topic="kitchen", producer="waiter-1") == ["tea"]
    assert library.found("order", topic="garden") == []


@pytest.mark.parametrize(
    "text",
    ['"', '"earl', "earl*", "-earl", "NEAR(", "a AND", "OR", "words:earl", "%", "_", "***", "''",
     "\\", "\x00", "(", "^earl", "+", "\ud800", "{}", "x" * 10_000, "a " * 5_000],
)  # fmt: skip
def test_no_query_breaks_the_search(storage: Storage, text: str) -> None:
    storage.publish(draft(message_id="1", message="earl near or"), draft(message_id="2"))
    before = storage.found(text, topic="news")
    storage.index_all()
    assert storage.found(text) == storage.found(text, topic="news") == before


def test_indexing_goes_on_where_it_stopped(storage: Storage) -> None:
    storage.publish(*(draft(message_id=f"m{n}") for n in range(5)))
    assert [storage.writer.index(3) for _ in range(3)] == [3, 2, 0]
    storage.publish(draft(message_id="late", message="lately"))
    assert storage.found("lately") == ["late"]
    assert storage.writer.index(3) == 1
    assert storage.found("lately") == ["late"]


def test_a_second_server_on_the_same_database_goes_on_counting(
    storage: Storage, database_url: str
) -> None:
    other = Storage(open_database(database_url, deduplication_seconds=WINDOW))
    assert other.database.epoch == storage.database.epoch
    answers = []
    for n in range(5):
        answers += storage.publish(draft(message_id=f"a{n}"))
        answers += other.publish(draft(message_id=f"b{n}"))
    assert [one.message.sequence for one in answers] == list(range(1, 11))
    (repeat,) = other.publish(draft(message_id="a4"))
    assert repeat.duplicate
    assert other.claim(Claim("bo", "news", "a0")) == [1]
    assert storage.claim(Claim("bo", "news", "a0"), Claim("cy", "news", "a0")) == [0, 1]
    other.close()


def test_what_was_committed_is_there_after_opening_again(
    storage: Storage, database_url: str
) -> None:
    storage.publish(draft(message={"kept": True}))
    epoch = storage.database.epoch
    storage.close()
    again = Storage(open_database(database_url))
    assert again.database.epoch == epoch
    assert content(again.log("news", 0, 1)[0]) == {"kept": True}
    again.close()
