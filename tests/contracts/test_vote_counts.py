"""What every database does with votes: one a user, counted and told in one transaction."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from python_pubsub_server.model import Tally, Vote
from python_pubsub_server.storage.database import Batch, WriteFailed, open_database
from stories import Storage, content, draft

TOPIC = "suggestions:votes"


def told(storage: Storage) -> list[Any]:
    """The counts that were published, in order, with their sequences."""
    return [(m.sequence, content(m)) for m in storage.log(TOPIC)]


def test_a_second_vote_replaces_the_first(storage: Storage) -> None:
    assert storage.vote(("s", "ann", 1)) == [(1, 1, 0)]
    assert storage.vote(("s", "bob", 1)) == [(2, 2, 0)]
    assert storage.vote(("s", "ann", -1)) == [(0, 1, 1)]
    assert storage.vote(("s", "ann", 0)) == [(1, 1, 0)]
    assert storage.reader.tally("s") == Tally("s", 1, 1, 0)
    assert storage.reader.tally("other") == Tally("other", 0, 0, 0)


def test_each_change_is_told_once_with_the_counts_after_it(storage: Storage) -> None:
    votes = [("s", "ann", 1), ("s", "ann", 1), ("t", "ann", -1), ("s", "ann", -1), ("s", "bob", 0)]
    assert storage.vote(*votes) == [(1, 1, 0), (1, 1, 0), (-1, 0, 1), (-1, 0, 1), (-1, 0, 1)]
    assert storage.vote(("s", "ann", -1)) == [(-1, 0, 1)]
    assert told(storage) == [
        (1, {"suggestion_id": "s", "score": 1, "up": 1, "down": 0}),
        (2, {"suggestion_id": "t", "score": -1, "up": 0, "down": 1}),
        (3, {"suggestion_id": "s", "score": -1, "up": 0, "down": 1}),
    ]


def test_the_same_change_again_and_again_is_told_each_time(storage: Storage) -> None:
    for _ in range(3):  # equal content within the window of deduplication
        storage.vote(("s", "ann", 1))
        storage.vote(("s", "ann", 0))
    assert [counts["up"] for _, counts in told(storage)] == [1, 0, 1, 0, 1, 0]


def test_votes_ride_with_messages(storage: Storage) -> None:
    committed = storage.commit(
        drafts=(draft("news", "1"), draft(TOPIC, "2", "from outside")),
        votes=(Vote("s", "ann", 1, "v1"), Vote("s", "ann", 1, "v2"), Vote("s", "bob", 1, "v3")),
    )
    shown = [(p.message.topic, p.message.message_id, p.duplicate) for p in committed.published]
    assert shown == [
        ("news", "1", False),
        (TOPIC, "2", False),
        (TOPIC, "v1", False),
        (TOPIC, "v3", False),
    ]
    assert committed.voted == [Tally("s", 1, 1, 0), Tally("s", 1, 1, 0), Tally("s", 2, 2, 0)]
    assert committed.position == storage.reader.last_position() == 4
    assert [m.sequence for m in storage.log(TOPIC)] == [1, 2, 3]


def test_names_may_hold_any_character(storage: Storage) -> None:
    name = "Zoë 🎈 'quoted\" \\ %_* "
    assert storage.vote((name, name, 1), (name, name, -1)) == [(1, 1, 0), (-1, 0, 1)]
    assert storage.vote((name, name, 1)) == [(1, 1, 0)]


def test_a_transaction_that_fails_leaves_the_counts_as_they_were(storage: Storage) -> None:
    storage.vote(("s", "ann", 1))
    with pytest.raises(WriteFailed):
        storage.vote(("s", "bob", 1), ("s", "ann", 7))  # the second one breaks a rule of the table
    assert storage.reader.tally("s") == Tally("s", 1, 1, 0)
    assert len(told(storage)) == 1
    assert storage.vote(("s", "bob", 1)) == [(2, 2, 0)]


def test_what_is_told_adds_up_whatever_the_batches(storage: Storage) -> None:
    dice = random.Random(7)
    mine: dict[tuple[str, str], int] = {}
    for _ in range(30):
        batch = [
            (dice.choice("st"), dice.choice("abcd"), dice.choice((1, 0, -1)))
            for _ in range(dice.randrange(1, 20))
        ]
        for tally, (suggestion, voter, value) in zip(storage.vote(*batch), batch, strict=True):
            mine[suggestion, voter] = value
            own = [value for (name, _), value in mine.items() if name == suggestion]
            assert tally == (sum(own), own.count(1), own.count(-1))


def test_a_hundred_voters_at_once_on_two_nodes(database_url: str) -> None:
    """Each in transactions of its own, through two writers, as two nodes on one log have them."""
    databases = [open_database(database_url) for _ in range(2)]
    writers = [database.writer() for database in databases]

    def cast(node: int) -> None:
        for n in range(node, 100, 2):
            for value in (-1, 1):
                vote = Vote("s", f"user {n}", value, f"{n} {value}")
                writers[node].commit(Batch(1000.0, votes=(vote,)))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(cast, range(2)))
    storage = Storage(databases[0])
    assert storage.reader.tally("s") == Tally("s", 100, 100, 0)
    counts = told(storage)
    assert [sequence for sequence, _ in counts] == list(range(1, 201))
    up = down = 0
    for _, tally in counts:  # each of them is one step from the one before
        assert (tally["up"] - up, tally["down"] - down) in {(0, 1), (1, -1)}
        up, down = tally["up"], tally["down"]
    assert (up, down) == (100, 0)
    storage.close()
    for writer in writers:
        writer.close()
