"""postgresql.py: what the contract does not say of a database that is a server of its own."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from loops import PATIENCE
from postgresql import PostgreSQL
from python_pubsub_server.errors import ConfigurationError, DatabaseError
from python_pubsub_server.storage.database import (
    Database,
    WriteFailed,
    open_database,
)
from python_pubsub_server.storage.postgresql_dialect import translated
from stories import Storage, draft


@pytest.fixture
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database()


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    story = Storage(open_database(url))
    yield story
    story.close()


def cut_off(url: str) -> None:
    """End every other connection to the database, as its restart does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'pubsub-server' AND datname = current_database()"
        )


def test_a_connection_that_was_lost_between_two_uses_is_opened_again(
    storage: Storage, url: str
) -> None:
    storage.publish(draft(message_id="1"))
    assert storage.sequences() == [1]
    cut_off(url)
    storage.publish(draft(message_id="2"))
    assert storage.sequences() == [1, 2]


def test_a_connection_that_is_lost_in_use_is_said_and_opened_again(
    storage: Storage, url: str
) -> None:
    storage.publish(draft(message_id="1"))
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM log FOR UPDATE")
        outcome: list[object] = []
        writing = threading.Thread(target=lambda: outcome.append(refusal(storage)))
        writing.start()
        wait_until_locked(url)
        cut_off(url)
        writing.join(PATIENCE)
    assert isinstance(outcome[0], WriteFailed)
    storage.publish(draft(message_id="2"))
    assert storage.sequences() == [1, 2]


def test_a_process_with_many_open_files_uses_it_all_the_same(url: str) -> None:
    some, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, most), most))
    with ExitStack() as open_files:
        open_files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (some, most))
        for _ in range(1_100):
            open_files.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        story = Storage(open_database(url))
        open_files.callback(story.close)
        for number in range(2):
            story.publish(draft(message_id=str(number)))
        assert story.sequences() == [1, 2]


def refusal(storage: Storage) -> WriteFailed | None:
    try:
        storage.publish(draft(message_id="2"))
    except WriteFailed as error:
        return error
    return None


def wait_until_locked(url: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(3_000):
            if connection.execute(waiting).fetchall() != [(0,)]:
                return
            connection.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")


def test_a_server_that_was_restarted_has_everything(
    storage: Storage, url: str, postgresql: PostgreSQL
) -> None:
    storage.publish(draft(message_id="1"))
    postgresql.restart()
    storage.publish(draft(message_id="2"))
    again = Storage(open_database(url))
    assert again.database.epoch == storage.database.epoch
    assert again.sequences() == [1, 2]
    again.close()


def test_writers_at_the_same_time_leave_no_gap(url: str) -> None:
    """Positions and sequences are given under one lock, whoever asks."""
    failures: list[Exception] = []

    def write(name: str) -> None:
        story = Storage(open_database(url))
        try:
            for n in range(30):
                story.publish(draft(message_id=f"{name}{n}"), draft("other", f"{name}{n}"))
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)
        finally:
            story.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    story = Storage(open_database(url))
    assert story.sequences() == story.sequences("other") == list(range(1, 91))
    stretch = story.reader.stretch(0, 1_000, 2**30)
    assert [position for position, _ in stretch.messages] == list(range(1, 181))
    story.close()


def test_the_tables_of_another_program_are_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE messages (id integer)")
    with pytest.raises(DatabaseError, match="another program"):
        open_database(url)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
        ).fetchall()
    assert rows == [(1,)]


def test_a_database_of_a_newer_server_is_left_alone(url: str, storage: Storage) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, '999_later', 'x', 0)")
    with pytest.raises(DatabaseError, match="newer"):
        open_database(url)


def test_servers_that_start_together_migrate_once(url: str) -> None:
    opened: list[Database] = []
    threads = [threading.Thread(target=lambda: opened.append(open_database(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(opened) == 4
    assert len({database.epoch for database in opened}) == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("postgresql://127.0.0.1:1/pubsub", DatabaseError),
        ("postgresql://u:secret-password@127.0.0.1:1/pubsub", DatabaseError),
        ("postgresql://host/name?nonsense=1", ConfigurationError),
    ],
)
def test_what_cannot_be_opened_is_said_without_the_password(
    wrong: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        open_database(wrong)
    assert "PUBSUB_DATABASE_URL" in str(raised.value)
    assert "secret-password" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT 1 FROM a INDEXED BY i WHERE b = ?", "SELECT 1 FROM a WHERE b = %s"),
        ("x CROSS JOIN a AS b\n    ON b.c = :d", "x JOIN a AS b\n    ON b.c = %(d)s"),
        ("a CROSS JOIN b AS c WHERE d", "a CROSS JOIN b AS c WHERE d"),
        ("value FROM json_each(:t)", "value FROM json_array_elements_text(%(t)s::json)"),
        ("max(a.b, excluded.b), max(c)", "greatest(a.b, excluded.b), max(c)"),
        ("INSERT OR IGNORE INTO a\n (?)", "INSERT INTO a\n (%s) ON CONFLICT DO NOTHING"),
    ],
)  # fmt: skip
def test_the_dialect(ours: str, theirs: str) -> None:
    assert translated(ours) == theirs
