"""Users and revoked tokens in a database. Triggers count the changes, so that a server sees any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .database import ReadFailed, WriteFailed
from .registry import Registered, User
from .sql import Connection, Cursor

ENDED_SECONDS = 3_600.0  # a token is surely over that long after its end, whatever the clocks say

_VERSION = "SELECT version FROM access"
_USERS = "SELECT name, created_at, disabled_at FROM users ORDER BY name"
_REVOKED = "SELECT token_id FROM revoked_tokens WHERE expires_at IS NULL OR expires_at > ?"
_ADD_USER = "INSERT OR IGNORE INTO users (name, created_at) VALUES (?, ?)"
_DISABLE_USER = "UPDATE users SET disabled_at = coalesce(disabled_at, ?) WHERE name = ?"
_ADD_DISABLED = "INSERT OR IGNORE INTO users (name, created_at, disabled_at) VALUES (?, ?, ?)"
_ENABLE_USER = "UPDATE users SET disabled_at = NULL WHERE name = ?"
_REVOKE = """INSERT INTO revoked_tokens (token_id, revoked_at, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (token_id) DO UPDATE SET expires_at = excluded.expires_at"""
_FORGET = "DELETE FROM revoked_tokens WHERE expires_at < ?"


class SQLRegistry:
    """Through one connection in autocommit mode: each change is a transaction of its own.

    It is opened when it is needed, and again after a failure (`failure`: what the driver raises).
    """

    def __init__(self, connect: Callable[[], Connection], failure: type[Exception]) -> None:
        self._connect = connect
        self._failure = failure
        self._connection: Connection | None = None

    def version(self) -> int:
        return int(self._read(_VERSION)[0][0])

    def registered(self, now: float) -> Registered:
        # The version first: what changes in between is then read again.
        version = self.version()
        users = self.users()
        return Registered(
            version,
            [user.name for user in users],
            [user.name for user in users if user.disabled_at is not None],
            [name for (name,) in self._read(_REVOKED, now - ENDED_SECONDS)],
        )

    def users(self) -> list[User]:
        return [User(*row) for row in self._read(_USERS)]

    def add_user(self, name: str, now: float) -> bool:
        return self._write(_ADD_USER, name, now) > 0

    def disable_user(self, name: str, now: float) -> bool:
        is_new = self._write(_ADD_DISABLED, name, now, now) > 0
        self._write(_DISABLE_USER, now, name)
        return not is_new

    def enable_user(self, name: str) -> bool:
        return self._write(_ENABLE_USER, name) > 0

    def revoke(self, token_id: str, now: float, expires_at: float | None) -> None:
        self._write(_REVOKE, token_id, now, expires_at)
        self._write(_FORGET, now - ENDED_SECONDS)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._execute(sql, values).fetchall()
        except self._failure as error:
            self.close()
            raise ReadFailed(str(error)) from error

    def _write(self, sql: str, *values: Any) -> int:
        """How many rows were changed."""
        try:
            return self._execute(sql, values).rowcount
        except self._failure as error:
            self.close()
            raise WriteFailed(str(error)) from error

    def _execute(self, sql: str, values: tuple[Any, ...]) -> Cursor:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.execute(sql, values)
