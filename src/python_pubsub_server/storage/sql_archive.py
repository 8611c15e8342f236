"""What an archive is read from and written into, the same of every database but for its SQL."""

from __future__ import annotations

from .. import __version__
from .archive import FORMAT, SIGNS_OF_USE, Head
from .sql import Connection

_MIGRATION = "SELECT name FROM migrations ORDER BY number DESC LIMIT 1"


def read_head(connection: Connection, query: str) -> Head:
    """What a log is. `query` finds its epoch, when it was made, and the last positions and time."""
    epoch, created_at, position, consumption, timestamp = connection.execute(query).fetchone()
    return Head(
        archive=FORMAT,
        server=__version__,
        migration=last_migration(connection),
        epoch=epoch,
        created_at=created_at,
        position=position,
        consumption=consumption,
        timestamp=timestamp,
    )


def last_migration(connection: Connection) -> str:
    (name,) = connection.execute(_MIGRATION).fetchone()
    return str(name)


def is_unused(connection: Connection) -> bool:
    """Whether a log was never used."""
    return not any(
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in SIGNS_OF_USE
    )
