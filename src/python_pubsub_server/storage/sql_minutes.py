"""The minutes that nodes measured, kept for a time."""

from __future__ import annotations

from ..model import NodeMinute
from .sql import Connection

_KEEP = "INSERT OR IGNORE INTO node_minutes (minute, node_id, host, measured) VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM node_minutes WHERE minute < ?"
_MINUTES = """SELECT minute, node_id, host, measured FROM node_minutes
    WHERE minute >= ? AND minute < ? AND (? = '' OR node_id = ?)
    ORDER BY minute DESC, node_id LIMIT ?"""


def keep_minute(connection: Connection, minute: NodeMinute, since: int) -> None:
    """Keep a minute of a node, and forget every minute before `since`."""
    connection.execute(_KEEP, (minute.minute, minute.node_id, minute.host, minute.measured))
    connection.execute(_FORGET, (since,))


def read_minutes(
    connection: Connection, since: int, until: int, node_id: str | None, limit: int
) -> list[NodeMinute]:
    """The minutes of one node, or all, from `since` to before `until`, the latest first."""
    name = node_id or ""
    rows = connection.execute(_MINUTES, (since, until, name, name, limit))
    return [NodeMinute(*row) for row in rows]
