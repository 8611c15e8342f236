"""sessions.py: connections end with their token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keys import AUDIENCE, Issuer
from loops import BACKENDS, PATIENCE, tell_story
from python_pubsub_server.access import Access
from python_pubsub_server.errors import Forbidden, Invalid, RequestError, Unauthenticated
from python_pubsub_server.identity import Identity
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.sessions import MAX_EMPTY_SECONDS, Sessions
from python_pubsub_server.standing import Standing
from python_pubsub_server.tokens import Verifier, read_public_keys

ISSUER = Issuer()
NOW = 2_000_000_000.0


class Connection:
    """A session that keeps why it was ended."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.ended: list[str] = []

    def end(self, error: RequestError) -> None:
        self.ended.append(error.code)


class Story:
    def __init__(self, runtime: Runtime) -> None:
        self.now = NOW
        self.runtime = runtime
        verifier = Verifier(read_public_keys(ISSUER.public), AUDIENCE, None)
        self.access = Access(verifier, lambda: self.now)
        self.sessions = Sessions(self.access, runtime, lambda: self.now)

    def token(self, subject: str = "ann", seconds: float = 60, **claims: Any) -> str:
        return ISSUER.token(subject, exp=self.now + seconds, **claims)

    def connect(self, subject: str = "ann", seconds: float = 60, **claims: Any) -> Connection:
        token = self.token(subject, seconds, **claims)
        connection = Connection(self.access.identify(token, "10.0.0.1"))
        self.sessions.watch(connection)
        return connection

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.sessions.tick()

    def close(self) -> None:
        self.sessions.close()


Tell = Callable[[Callable[[Story], None]], None]


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest) -> Tell:
    return lambda tale: tell_story(Story, tale, request.param)


def test_each_session_ends_when_its_token_does(tell: Tell) -> None:
    def tale(story: Story) -> None:
        short, other, long = story.connect("ann", 10), story.connect("bob", 10), story.connect()
        story.pass_time(9.5)
        assert (short.ended, other.ended) == ([], [])
        story.pass_time(1)
        assert (short.ended, other.ended, long.ended) == (["token_expired"], ["token_expired"], [])
        story.pass_time(100)
        assert short.ended == long.ended == ["token_expired"]
        assert len(story.sessions) == 0

    tell(tale)


def test_the_timer_runs_by_itself_while_somebody_is_there(tell: Tell) -> None:
    def tale(story: Story) -> None:
        ended = story.runtime.event()
        connection = story.connect("ann", 10)
        connection.end = lambda error: ended.set()  # type: ignore[method-assign]
        story.now += 11
        assert ended.wait(PATIENCE)

    tell(tale)


def test_who_left_is_not_ended(tell: Tell) -> None:
    def tale(story: Story) -> None:
        gone = story.connect("ann", 10)
        story.sessions.forget(gone)
        story.sessions.forget(gone)
        story.pass_time(100)
        assert gone.ended == []

    tell(tale)


def test_without_authentication_nothing_ends(tell: Tell) -> None:
    def tale(story: Story) -> None:
        sessions = Sessions(None, story.runtime, lambda: story.now)
        anybody = Connection(Identity("127.0.0.1"))
        sessions.watch(anybody)
        sessions.recheck()
        assert (len(sessions), anybody.ended) == (0, [])
        with pytest.raises(Invalid):
            sessions.refresh(anybody, story.token())

    tell(tale)


def test_a_newer_token_of_the_same_user_goes_on_with_its_rights(tell: Tell) -> None:
    def tale(story: Story) -> None:
        connection = story.connect("ann", 10)
        newer = story.token("ann", 60, pubsub={"publish": ["new"]})
        identity = story.sessions.refresh(connection, newer)
        assert connection.identity is identity
        assert identity.rights.publish == ("new",)
        story.pass_time(30)
        assert connection.ended == []
        story.pass_time(31)
        assert connection.ended == ["token_expired"]

    tell(tale)


def test_a_token_that_does_not_fit_changes_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        connection = story.connect("ann", 10)
        before = connection.identity
        with pytest.raises(Forbidden):
            story.sessions.refresh(connection, story.token("bob"))
        with pytest.raises(Unauthenticated):
            story.sessions.refresh(connection, story.token("ann", -100))
        assert connection.identity is before
        story.pass_time(11)
        assert connection.ended == ["token_expired"]

    tell(tale)


def test_a_change_of_the_users_ends_whom_it_concerns(tell: Tell) -> None:
    def tale(story: Story) -> None:
        ann, bob, ann_too = story.connect("ann"), story.connect("bob"), story.connect("ann")
        revoked = story.connect("carl", jti="t1")
        story.access.standing = Standing(disabled=frozenset({"ann"}), revoked=frozenset({"t1"}))
        story.sessions.recheck()
        story.sessions.recheck()
        assert [each.ended for each in (ann, ann_too, revoked)] == [["unauthenticated"]] * 3
        assert bob.ended == []

    tell(tale)


def test_who_is_disabled_while_connecting_is_ended(tell: Tell) -> None:
    def tale(story: Story) -> None:
        connection = Connection(story.access.identify(story.token("ann"), "10.0.0.1"))
        story.access.standing = Standing(disabled=frozenset({"ann"}))
        story.sessions.recheck()
        story.sessions.watch(connection)
        assert connection.ended == ["unauthenticated"]
        assert len(story.sessions) == 0

    tell(tale)


def test_who_comes_and_goes_leaves_nothing_behind(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for second in range(3 * MAX_EMPTY_SECONDS):
            connection = Connection(Identity("10.0.0.1", "ann", ends_at=NOW + second + 1))
            story.sessions.watch(connection)
            story.sessions.forget(connection)
        assert len(story.sessions._seconds) <= MAX_EMPTY_SECONDS + 1
        assert not story.sessions._ending

    tell(tale)
