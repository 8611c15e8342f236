"""Looks at a PostgreSQL database without changing it."""

from __future__ import annotations

import psycopg

from ..errors import DatabaseError
from .examine import Examined
from .migrations import lacking, migrations_folder, read_migrations
from .postgresql import connect, conninfo_of, line_of
from .postgresql_migrations import read_records

OLDEST = 140_000

_SERVER = """SELECT current_setting('server_version'), current_setting('server_version_num')::int,
    current_setting('fsync')::bool AND current_setting('full_page_writes')::bool,
    extract(epoch FROM clock_timestamp())::float8,
    has_schema_privilege(current_schema(), 'CREATE')"""
_LOG = "SELECT epoch FROM log"
_COUNTED = "SELECT coalesce(sum(sequence - first + 1), 0)::bigint FROM topics"
_NEWEST = "SELECT timestamp FROM messages ORDER BY position DESC LIMIT 1"


def examine_server(url: str) -> Examined:
    """Raises ConfigurationError, DatabaseError, with what to do."""
    known = read_migrations(migrations_folder() / "postgresql")
    try:
        with connect(conninfo_of(url)) as connection, connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            ((version, number, is_durable, now, may_create),) = connection.execute(_SERVER)
            if number < OLDEST:
                raise DatabaseError(f"PostgreSQL {version} is too old; it has to be 14 or newer")
            missing = tuple(one.name for one in lacking(read_records(connection), known))
            if missing and not may_create:
                raise DatabaseError(
                    "PostgreSQL: its user may not create tables; GRANT CREATE ON SCHEMA to it"
                )
            kind = f"PostgreSQL {version}"
            if missing:
                return Examined(kind, missing=missing, now=now, is_durable=is_durable)
            row = connection.execute(_LOG).fetchone()
            ((messages,),) = connection.execute(_COUNTED)
            newest = connection.execute(_NEWEST).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(
            f"PostgreSQL: {line_of(error)}; see that it runs and that PUBSUB_DATABASE_URL names it"
        ) from error
    return Examined(
        kind,
        epoch=row[0] if row else None,
        messages=messages,
        newest_at=newest[0] if newest else 0.0,
        now=now,
        is_durable=is_durable,
    )
