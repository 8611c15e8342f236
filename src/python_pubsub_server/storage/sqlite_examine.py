"""Looks at an SQLite database without changing it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from ..errors import DatabaseError
from .examine import Examined
from .migrations import migrations_folder, pending, read_migrations
from .sqlite import MAX_CHECKED_BYTES, advice, connect, refuse_unwritable

KIND = f"SQLite {sqlite3.sqlite_version}"
PATIENCE_SECONDS = 5.0

_LOG = "SELECT epoch FROM log"
_COUNTED = "SELECT coalesce(sum(sequence - first + 1), 0) FROM topics"
_NEWEST = "SELECT timestamp FROM messages ORDER BY position DESC LIMIT 1"


def examine_file(path: Path, *, thorough: bool) -> Examined:
    """Raises DatabaseError, with what to do."""
    known = read_migrations(migrations_folder())
    refuse_unwritable(path)
    if not path.exists() or not path.stat().st_size:
        return Examined(KIND, missing=tuple(one.name for one in known))
    size = path.stat().st_size
    is_small = size <= MAX_CHECKED_BYTES
    try:
        with contextlib.closing(connect(path, PATIENCE_SECONDS, mode="ro")) as connection:
            missing = tuple(one.name for one in pending(connection, known))
            if thorough or is_small:
                _look_through(connection, thorough=thorough)
            unchecked = 0 if thorough or is_small else size
            if missing:
                return Examined(KIND, missing=missing, unchecked_bytes=unchecked)
            row = connection.execute(_LOG).fetchone()
            (messages,) = connection.execute(_COUNTED).fetchone()
            newest = connection.execute(_NEWEST).fetchone()
    except DatabaseError as error:
        raise DatabaseError(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}; {advice(error)}") from error
    return Examined(
        KIND,
        epoch=row[0] if row else None,
        messages=messages,
        newest_at=newest[0] if newest else 0.0,
        unchecked_bytes=unchecked,
    )


def _look_through(connection: sqlite3.Connection, *, thorough: bool) -> None:
    check = "integrity_check" if thorough else "quick_check"
    (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    if found != "ok":
        where = " ".join(found.removeprefix("*** in database main ***").split())
        raise DatabaseError(f"the file is damaged ({where}); restore it from a backup")
