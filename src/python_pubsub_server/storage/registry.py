"""Users and revoked tokens: kept beside the log, changed by commands, read by servers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec


class User(msgspec.Struct, frozen=True):
    """Somebody whom `pubsub-server users` knows; `disabled_at` is None for one who may come in."""

    name: str
    created_at: float
    disabled_at: float | None


class Registered(msgspec.Struct, frozen=True):
    """What a server has to know at a version: names of users, ids of tokens still to be refused."""

    version: int
    users: Collection[str]
    disabled: Collection[str]
    revoked: Collection[str]


class Registry(Protocol):
    """Used by one native thread at a time. Raises ReadFailed, WriteFailed."""

    def version(self) -> int:
        """Another number after each change, whichever process made it. Cheap."""

    def registered(self, now: float) -> Registered: ...

    def users(self) -> list[User]:
        """All of them, by name."""

    def add_user(self, name: str, now: float) -> bool:
        """False: there is one of that name already; it stays as it is."""

    def disable_user(self, name: str, now: float) -> bool:
        """False: there was none of that name; there is now, and it is disabled."""

    def enable_user(self, name: str) -> bool:
        """False: there is none of that name."""

    def revoke(self, token_id: str, now: float, expires_at: float | None) -> None:
        """Refuse a token from now on; until it ends by itself, if that is known.

        Also forgets revocations of tokens that have ended by now.
        """

    def close(self) -> None: ...
