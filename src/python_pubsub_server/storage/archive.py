"""A whole log as lines of JSON, to move it from one kind of database to another.

The first line is the `Head`; a line `{"table": …, "columns": […]}` begins a table, an array is a
row of it, and the last line says how many rows there were, so that half a file is not taken for a
whole one. The search index is not among them: servers make it anew, in the background.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

import msgspec

from ..errors import DatabaseError

FORMAT = 1
PIECE = 500  # rows
PIECE_BYTES = 2**22
MAX_LINE_BYTES = 2**28

# Each in an order in which it can be read without sorting, as far as that matters.
TABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "topics": (
        ("topic_id", "topic", "sequence", "first", "last_published_at", "trimmed"),
        "topic_id",
    ),
    "consumers": (("consumer_id", "consumer"), "consumer_id"),
    "messages": (
        (
            *("position", "topic_id", "sequence", "message_id", "message", "producer"),
            *("timestamp", "fingerprint"),
        ),
        "position",
    ),
    "consumptions": (
        ("position", "topic_id", "sequence", "consumer_id", "timestamp"),
        "position",
    ),
    "interests": (("consumer_id", "topic", "since", "first_at"), "consumer_id, topic"),
    "publishers": (("topic_id", "producer", "messages", "last_at"), "topic_id, producer"),
    "readers": (("topic_id", "consumer_id", "consumptions", "last_at"), "topic_id, consumer_id"),
    "nodes": (("node_id", "delivered", "noted_at"), "node_id"),
    "spans": (
        (
            *("span_id", "node_id", "consumer_id", "topic", "after", "began_at", "through"),
            *("ended_at", "reason"),
        ),
        "span_id",
    ),
    # Numbered anew where they arrive.
    "replays": (("topic_id", "consumer_id", "after", "through", "at"), "replay_id"),
    "losses": (
        ("topic_id", "consumer_id", "base", "confirmed", "announced", "told"),
        "topic_id, consumer_id",
    ),
    "identities": (
        (
            *("topic_id", "message_id", "fingerprint", "producer", "digest", "timestamp"),
            "sequence",
        ),
        "timestamp",
    ),
    "suggestions": (("suggestion_id", "up", "down"), "suggestion_id"),
    "votes": (("suggestion_id", "voter", "value", "at"), "suggestion_id, voter"),
    "node_minutes": (("minute", "node_id", "host", "measured"), "minute, node_id"),
    "users": (("name", "created_at", "disabled_at"), "name"),
    "revoked_tokens": (("token_id", "revoked_at", "expires_at"), "token_id"),
}
# What a log that was ever used has rows in.
SIGNS_OF_USE = ("topics", "consumers", "interests", "votes", "users", "revoked_tokens")
# What a migration fills, and what is made again from the rest.
NOT_ARCHIVED = (
    *("migrations", "log", "access", "search", "search_progress"),
    *("consumed_by", "consumed_by_progress"),
)


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an archive is of: the log's identity, the last positions it gave, and its tables."""

    archive: int
    server: str
    migration: str
    epoch: str
    created_at: float
    position: int
    consumption: int
    timestamp: float


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The beginning of a table."""

    table: str
    columns: tuple[str, ...]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: int


class Source(Protocol):
    """One state of a log, whatever is written meanwhile."""

    def head(self) -> Head: ...

    def rows(self, table: str) -> Iterator[Sequence[Any]]: ...


class Target(Protocol):
    """A log that is being filled, all of it or nothing."""

    def is_empty(self) -> bool: ...

    def migration(self) -> str:
        """The name of the last migration."""

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None: ...

    def end(self, head: Head) -> None:
        """Take over whose log it is, and go on counting where that one did."""


class Archivable(Protocol):
    def source(self) -> AbstractContextManager[Source]: ...

    def target(self) -> AbstractContextManager[Target]: ...


def write_archive(database: Archivable, file: BinaryIO) -> Head:
    """Write everything that a log has at this moment. Raises DatabaseError, OSError."""
    encoder = msgspec.json.Encoder()
    count = 0
    with database.source() as source:
        head = source.head()
        file.write(encoder.encode(head) + b"\n")
        for table, (columns, _) in TABLES.items():
            file.write(encoder.encode(Part(table, columns)) + b"\n")
            for row in source.rows(table):
                file.write(encoder.encode(row) + b"\n")
                count += 1
    file.write(encoder.encode(End(count)) + b"\n")
    return head


def read_archive(file: BinaryIO, database: Archivable) -> tuple[Head, int]:
    """Fill an empty log with an archive; what it is of, and how many rows there were.

    Raises DatabaseError, also for an archive that is damaged, cut off or of another version; the
    log is then as empty as before.
    """
    lines = _lines(file)
    head = _decoded(next(lines, b""), Head, 1)
    if head.archive != FORMAT:
        raise DatabaseError(
            f"the archive has the format {head.archive}, this server knows {FORMAT}; "
            f"import it with the version that wrote it ({head.server})"
        )
    with database.target() as target:
        if head.migration != target.migration():
            raise DatabaseError(
                f"the archive has tables as of {head.migration} (server {head.server}), this "
                f"server those as of {target.migration()}; export and import with one version, "
                "and upgrade before or after"
            )
        if not target.is_empty():
            raise DatabaseError("the database to import into is not empty; name an empty one")
        count = _fill(target, lines)
        target.end(head)
    return head, count


def _fill(target: Target, lines: Iterator[bytes]) -> int:
    """Add all rows; how many. Raises DatabaseError unless the archive ends as it should."""
    number, count = 1, 0
    part: Part | None = None
    piece: list[list[Any]] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if part is not None and piece:
            target.add(part.table, piece)
        piece.clear()
        size = 0

    for line in lines:
        number += 1
        if line[:1] == b"[":
            row = _row(line, part, number)
            piece.append(row)
            count += 1
            size += len(line)
            if len(piece) >= PIECE or size >= PIECE_BYTES:
                flush()
            continue
        flush()
        if line.startswith(b'{"rows":'):
            end = _decoded(line, End, number)
            if end.rows != count or next(lines, None) is not None:
                break
            return count
        part = _decoded(line, Part, number)
        if part.table not in TABLES or part.columns != TABLES[part.table][0]:
            raise DatabaseError(f"the archive's line {number} begins an unknown table")
    raise DatabaseError(f"the archive is damaged or not whole: it ends at line {number}")


def _row(line: bytes, part: Part | None, number: int) -> list[Any]:
    row: list[Any] = _decoded(line, list[Any], number)
    if part is None or len(row) != len(part.columns):
        raise DatabaseError(f"the archive's line {number} is not a row of its table")
    if part.table == "identities":
        place = part.columns.index("digest")
        row[place] = msgspec.convert(row[place], bytes)
    return row


def _decoded(line: bytes, kind: Any, number: int) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatabaseError(
            f"the archive's line {number} cannot be read ({error}); is it one, and whole?"
        ) from None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES):
        yield line.rstrip(b"\r\n")


def select(table: str) -> str:
    columns, order = TABLES[table]
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"
