"""The verbs of `pubsub-server`. Options come from the settings table; errors are one line each."""

from __future__ import annotations

import sys

import click

from . import __version__, logs
from .cli_access import token, users
from .cli_archive import backup, export_log, import_log
from .cli_bench import bench
from .cli_doctor import doctor
from .cli_publish import publish
from .cli_subscribe import subscribe
from .cli_verbs import PROGRAM, Verb, load_settings, settings_options
from .config import Settings
from .settings_text import without_password


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """A self-hosted real-time publish/subscribe server."""


@cli.command(cls=Verb)
@settings_options()
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="So many processes on one port; more than 1 needs PUBSUB_REDIS_URL. [default: 1]",
)
def serve(workers: int, **options: str | None) -> None:
    """Run the server until it is told to stop (SIGTERM, or Ctrl-C).

    Each setting can be given as an option, as a variable in the environment, or in a file .env
    in the working directory; the first of these that names it wins.
    """
    settings = load_settings(options)
    if workers > 1:
        from .workers import serve as serve_all

        sys.exit(serve_all(settings, workers, serve_one_of_many))
    # Here and not at the top, so that the other verbs and --help do not wait for it.
    from .pubsub_ws import serve as run

    sys.exit(run(settings))


def serve_one_of_many(settings: Settings, worker: int) -> int:
    """Run one of the processes that share a port."""
    from .pubsub_ws import serve as run

    return run(settings, worker=worker)


@cli.command(cls=Verb)
@settings_options("database_url", "log_level", "log_format")
def migrate(**options: str | None) -> None:
    """Bring the database to this version, making it if there is none."""
    settings = load_settings(options)
    logs.configure(settings.log_level, settings.log_format)
    from .storage.database import open_database

    database = open_database(settings.database_url, durability=settings.durability)
    where = without_password(settings.database_url)
    click.echo(f"{where} is up to date (log {database.epoch})")


for verb in (publish, subscribe, users, token, export_log, import_log, backup, doctor, bench):
    cli.add_command(verb)


def main() -> None:
    """The console script."""
    cli(prog_name=PROGRAM)
