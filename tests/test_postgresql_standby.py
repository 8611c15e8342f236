"""postgresql.py: a primary and its synchronous standby."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from python_pubsub_server.storage.database import WriteFailed, open_database
from standby import Pair, Server
from stories import Storage, draft


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


def test_of_several_servers_the_one_that_can_be_written_to_is_taken(pair: Pair) -> None:
    hosts = f"127.0.0.1:{pair.standby.port},127.0.0.1:{pair.primary.port}"
    story = Storage(open_database(f"postgresql://postgres@{hosts}/postgres"))
    story.publish(draft("hosts"))
    assert story.sequences("hosts") == [1]
    story.close()


def test_a_commit_that_the_standby_may_not_have_is_not_answered(pair: Pair) -> None:
    story = Storage(open_database(pair.url))
    outcome: list[object] = []

    def publish() -> None:
        try:
            outcome.append(story.publish(draft()))
        except WriteFailed as error:
            outcome.append(error)

    publishing = threading.Thread(target=publish)
    pair.standby.freeze()
    try:
        publishing.start()
        end_the_wait(pair.primary)
        publishing.join(30)
    finally:
        pair.standby.thaw()
    assert isinstance(outcome[0], WriteFailed)
    assert "synchronous replication" in str(outcome[0])
    # Now it has it, and who sends it again is told so.
    assert [each.duplicate for each in story.publish(draft())] == [True]
    assert story.sequences() == [1]
    story.close()


def end_the_wait(primary: Server) -> None:
    """As an administrator may, once somebody waits for the standby."""
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    for _ in range(1_000):
        if primary.execute(cancel):
            return
        primary.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for the standby")
