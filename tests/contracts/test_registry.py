"""What every database promises of users and revoked tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from python_pubsub_server.storage.database import open_database
from python_pubsub_server.storage.registry import Registry, User

HOUR = 3_600.0


@pytest.fixture
def registry(database_url: str) -> Iterator[Registry]:
    opened = open_database(database_url).registry()
    yield opened
    opened.close()


def test_users_are_listed_by_name(registry: Registry) -> None:
    assert registry.users() == []
    assert registry.add_user("bob", 1.5)
    assert registry.add_user("ann/é 1", 2.5)
    assert registry.users() == [User("ann/é 1", 2.5, None), User("bob", 1.5, None)]


def test_a_user_that_exists_is_not_added_again(registry: Registry) -> None:
    registry.add_user("bob", 1.0)
    registry.disable_user("bob", 2.0)
    assert not registry.add_user("bob", 3.0)
    assert registry.users() == [User("bob", 1.0, 2.0)]


def test_a_user_is_disabled_once_and_enabled_again(registry: Registry) -> None:
    registry.add_user("bob", 1.0)
    assert registry.disable_user("bob", 2.0)
    assert registry.disable_user("bob", 3.0)
    assert registry.users() == [User("bob", 1.0, 2.0)]
    assert registry.enable_user("bob")
    assert registry.users() == [User("bob", 1.0, None)]
    assert not registry.enable_user("ann")


def test_a_user_who_was_never_added_can_be_disabled(registry: Registry) -> None:
    assert not registry.disable_user("mallory", 2.0)
    assert registry.registered(3.0).disabled == ["mallory"]


def test_a_server_hears_who_is_disabled_and_what_is_revoked(registry: Registry) -> None:
    registry.add_user("ann", 1.0)
    registry.disable_user("bob", 1.0)
    registry.revoke("token-1", 1.0, None)
    found = registry.registered(2.0)
    assert (sorted(found.users), list(found.disabled)) == (["ann", "bob"], ["bob"])
    assert list(found.revoked) == ["token-1"]
    assert found.version == registry.version()


def test_a_revocation_is_forgotten_long_after_the_tokens_end(registry: Registry) -> None:
    registry.revoke("short", 1_000.0, 2_000.0)
    registry.revoke("unknown", 1_000.0, None)
    assert sorted(registry.registered(2_100.0).revoked) == ["short", "unknown"]
    assert list(registry.registered(2_000.0 + 2 * HOUR).revoked) == ["unknown"]


def test_revoking_again_says_when_the_token_ends(registry: Registry) -> None:
    registry.revoke("one", 1_000.0, 2_000.0)
    registry.revoke("one", 1_000.0, None)
    assert list(registry.registered(2_000.0 + 2 * HOUR).revoked) == ["one"]


@pytest.mark.parametrize("change", ["add", "disable", "enable", "revoke", "forget"])
def test_each_change_by_anybody_is_another_version(
    registry: Registry, database_url: str, change: str
) -> None:
    registry.add_user("ann", 1.0)
    registry.disable_user("ann", 1.0)
    registry.revoke("old", 1.0, 2.0)
    before = registry.version()
    other = open_database(database_url).registry()
    try:
        if change == "add":
            other.add_user("bob", 1.0)
        elif change == "disable":
            other.disable_user("bob", 1.0)
        elif change == "enable":
            other.enable_user("ann")
        else:
            other.revoke("new", 1.0 if change == "revoke" else 3 * HOUR, None)
    finally:
        other.close()
    assert registry.version() != before
    assert registry.version() == registry.version()
