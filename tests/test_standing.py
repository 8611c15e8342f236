"""standing.py: a server follows what commands do to its users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loops import BACKENDS, PATIENCE, tell_story
from python_pubsub_server.errors import DatabaseError, Unauthenticated
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.standing import Standing, Watch
from python_pubsub_server.storage.database import Database, ReadFailed, open_database
from python_pubsub_server.storage.registry import Registered

NEVER = 3_600.0


class Story:
    def __init__(self, runtime: Runtime, database: Database) -> None:
        self.runtime = runtime
        self.database = database
        self.told: list[Standing] = []
        self.is_told = runtime.event()
        self.command = database.registry()

    def watch(self, *, seconds: float = NEVER, known_only: bool = False) -> Watch:
        def changed(standing: Standing) -> None:
            self.told.append(standing)
            self.is_told.set()

        return Watch(
            self.database.registry(),
            self.runtime,
            lambda: 1_000.0,
            known_only=known_only,
            changed=changed,
            seconds=seconds,
        )

    def close(self) -> None:
        self.command.close()


Tell = Callable[[Callable[[Story], None]], None]


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    def make(runtime: Runtime) -> Story:
        return Story(runtime, open_database(f"sqlite:///{tmp_path}/log.db"))

    return lambda tale: tell_story(make, tale, request.param)


def test_it_begins_with_what_there_is(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.command.disable_user("mallory", 1.0)
        watch = story.watch()
        assert [standing.disabled for standing in story.told] == [{"mallory"}]
        watch.stop(PATIENCE)

    tell(tale)


def test_a_change_is_told_once_and_by_itself(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watch = story.watch(seconds=0.01)
        story.is_told.clear()
        story.command.revoke("t1", 1.0, None)
        assert story.is_told.wait(PATIENCE)
        watch.look()
        watch.look()
        assert [sorted(standing.revoked) for standing in story.told] == [[], ["t1"]]
        watch.stop(PATIENCE)

    tell(tale)


@pytest.mark.parametrize("known_only", [True, False])
def test_only_known_users_where_that_is_wanted(tell: Tell, known_only: bool) -> None:
    def tale(story: Story) -> None:
        story.command.add_user("ann", 1.0)
        watch = story.watch(known_only=known_only)
        story.told[-1].check("ann", None)
        if known_only:
            with pytest.raises(Unauthenticated, match="not known"):
                story.told[-1].check("bob", None)
        else:
            story.told[-1].check("bob", None)
        watch.stop(PATIENCE)

    tell(tale)


class Failing:
    """A registry that cannot be read."""

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.is_failing = False

    def version(self) -> int:
        if self.is_failing:
            raise ReadFailed("disk I/O error")
        return 1

    def registered(self, now: float) -> Registered:
        return Registered(1, ["ann"], ["bob"], [])

    def close(self) -> None:
        pass


def test_while_the_users_cannot_be_read_what_was_known_holds(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        failing = Failing(None)
        told: list[Standing] = []
        watch = Watch(
            failing,  # type: ignore[arg-type]
            story.runtime,
            lambda: 1_000.0,
            known_only=True,
            changed=told.append,
            seconds=NEVER,
        )
        failing.is_failing = True
        watch.look()
        watch.look()
        assert [standing.disabled for standing in told] == [{"bob"}]
        watch.stop(PATIENCE)

    tell(tale)
    assert [record.message for record in caplog.records].count("users_not_read") == 1


def test_a_server_that_cannot_read_its_users_does_not_start(tell: Tell) -> None:
    def tale(story: Story) -> None:
        failing = Failing(None)
        failing.is_failing = True
        with pytest.raises(DatabaseError, match="users cannot be read"):
            Watch(
                failing,  # type: ignore[arg-type]
                story.runtime,
                lambda: 1_000.0,
                known_only=True,
                changed=lambda standing: None,
            )

    tell(tale)
