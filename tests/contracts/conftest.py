"""The databases that the contract runs on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from postgresql import PostgreSQL
from python_pubsub_server.storage.database import open_database
from stories import WINDOW, Storage


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pubsub.db"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return postgresql.new_database()


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    story = Storage(open_database(database_url, deduplication_seconds=WINDOW))
    yield story
    story.close()


@pytest.fixture
def many_pages() -> Callable[[Callable[[int | None], list[tuple[int, Any]]]], list[Any]]:
    """Reads a listing to its end, page by page, through its cursor."""

    def read(listing: Callable[[int | None], list[tuple[int, Any]]]) -> list[Any]:
        found: list[Any] = []
        before: int | None = None
        while page := listing(before):
            found += [item for _, item in page]
            before = page[-1][0]
        return found

    return read


@pytest.fixture
def deliveries_kept(database_url: str, storage: Storage) -> Callable[[], dict[str, int]]:
    """How many rows the database keeps for its ledgers."""

    def connect() -> Any:
        if database_url.startswith("sqlite"):
            return sqlite3.connect(database_url.removeprefix("sqlite:///"))
        return psycopg.connect(database_url)

    def count() -> dict[str, int]:
        with closing(connect()) as connection:
            return {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("spans", "replays", "nodes")
            }

    return count
