"""What a database is like, found out without changing it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigurationError


class Examined(msgspec.Struct, frozen=True):
    """A database as it is. `kind` is the program behind it, with its version.

    `epoch` is None where there is no log yet; `missing` are the migrations that a server would
    apply; `newest_at` is the time of the last message, 0.0 if there was none; `now` is the time of
    the database's own machine, None where that is ours; `unchecked_bytes` is the size of a file
    that was too large to be looked through.
    """

    kind: str
    epoch: str | None = None
    messages: int = 0
    missing: tuple[str, ...] = ()
    newest_at: float = 0.0
    now: float | None = None
    unchecked_bytes: int = 0
    is_durable: bool = True


def examine(url: str, *, thorough: bool = False) -> Examined:
    """Look at the database of a URL; a large file is looked through only if it is to be thorough.

    Raises ConfigurationError for a URL that cannot be read, DatabaseError, with what to do, where a
    server could not start with it.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from .sqlite_examine import examine_file

        return examine_file(Path(rest.removeprefix("/")), thorough=thorough)
    if scheme in ("postgresql", "postgres"):
        from .postgresql_examine import examine_server

        return examine_server(url)
    raise ConfigurationError(f"there is no database of the kind {scheme!r}")
