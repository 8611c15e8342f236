"""The SQL that every database of this project understands, and who runs it.

The statements of the modules `sql_*` are written in SQLite's dialect: `?` and `:name` for values,
`INDEXED BY`, `CROSS JOIN ... ON` for a join whose order is meant. `postgresql_dialect` says the
same in PostgreSQL's words. So a column in `DO UPDATE SET` names its table, a subquery has a name,
and a value is compared with something typed before it is asked whether it is NULL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Inside a transaction that its owner began."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor: ...

    def close(self) -> None: ...

    def executemany(self, sql: str, parameters: Any, /) -> object: ...
