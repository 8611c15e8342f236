"""A PostgreSQL connection that understands the SQL of this project's other database, too."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import psycopg

from .sql import Cursor

# In this order. Each turns one thing that `sql.py` names into PostgreSQL's words.
_RULES = (
    (r"\s+INDEXED BY \w+", ""),
    (r"CROSS JOIN (\w+ AS \w+)(?=\s+ON\b)", r"JOIN \1"),
    (r"json_each\((\?|:\w+)\)", r"json_array_elements_text(\1::json)"),
    (r"\bmax\((\w+\.\w+), (\w+\.\w+)\)", r"greatest(\1, \2)"),
    (r"\browid\b", "ctid"),
    (r"^INSERT OR IGNORE (.*)$", r"INSERT \1 ON CONFLICT DO NOTHING"),
    (r"(?<!:):([a-z_]+)", r"%(\1)s"),
    (r"\?", "%s"),
)


@cache
def translated(sql: str) -> str:
    """A statement in PostgreSQL's dialect, with placeholders as psycopg wants them."""
    for pattern, words in _RULES:
        sql = re.sub(pattern, words, sql, flags=re.DOTALL)
    return sql


class Dialect:
    """Runs translated statements on a connection."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        return self._connection.execute(translated(sql), parameters)

    def executemany(self, sql: str, parameters: Any, /) -> None:
        self._connection.cursor().executemany(translated(sql), parameters)

    def close(self) -> None:
        self._connection.close()
