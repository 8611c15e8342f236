"""`pubsub-server export`, `import` and `backup`: a whole log, from one database to another."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_verbs import Verb, load_settings, settings_options
from .errors import DatabaseError
from .settings_text import without_password

if TYPE_CHECKING:
    from .storage.archive import Head
    from .storage.database import Database

FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


def open_existing(options: dict[str, str | None]) -> Database:
    """The database of the settings, which must be there. Raises StartError."""
    from .storage.database import check_exists, open_database

    settings = load_settings(options)
    check_exists(settings.database_url)
    return open_database(settings.database_url, durability=settings.durability)


@click.command("export", cls=Verb)
@click.argument("file", type=FILE, default="-")
@settings_options("database_url")
def export_log(file: Path, **options: str | None) -> None:
    """Write everything that the database has to FILE (-: standard output), as lines of JSON.

    Servers may go on writing; what they write later is not in it. The search index is left out:
    servers make it anew.
    """
    from .storage.archive import write_archive

    database = open_existing(options)
    try:
        if file == Path("-"):
            head = write_archive(database, sys.stdout.buffer)
            sys.stdout.flush()
        else:
            head = write_whole(database, file)
    except OSError as error:
        raise DatabaseError(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"exported the log {head.epoch} up to position {head.position}", err=True)


def write_whole(database: Database, file: Path) -> Head:
    """Write an archive that has its name only when it is whole. Raises DatabaseError, OSError."""
    from .storage.archive import write_archive

    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as stream:
            head = write_archive(database, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return head


@click.command("import", cls=Verb)
@click.argument("file", type=FILE, default="-")
@settings_options("database_url")
def import_log(file: Path, **options: str | None) -> None:
    """Fill an empty database with what `export` wrote to FILE (-: standard input).

    It then is that log: epoch, sequences, consumers and what they have consumed are the same. No
    server may run on the database meanwhile. All of it is imported or nothing.
    """
    from .storage.archive import read_archive
    from .storage.database import open_database

    settings = load_settings(options)
    try:
        with sys.stdin.buffer if file == Path("-") else file.open("rb") as stream:
            database = open_database(settings.database_url, durability=settings.durability)
            head, rows = read_archive(stream, database)
    except OSError as error:
        raise DatabaseError(f"{file} cannot be read: {error.strerror}") from None
    where = without_password(settings.database_url)
    click.echo(f"{where} is the log {head.epoch} up to position {head.position}, {rows} rows")


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@settings_options("database_url")
def backup(file: Path, **options: str | None) -> None:
    """Copy an SQLite database to a new FILE, as it is at this moment, while servers run."""
    open_existing(options).back_up(file)
    click.echo(f"copied to {file}, {file.stat().st_size:,} bytes, and looked it through")
