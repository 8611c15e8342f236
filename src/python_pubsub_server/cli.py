"""The verbs of `pubsub-server`. Options come from the settings table; errors are one line each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__, config, logs
from .errors import StartError

PROGRAM = "pubsub-server"

F = TypeVar("F", bound=Callable[..., Any])


class Verb(click.Command):
    """A command that says on standard error why it cannot start, and then exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartError as error:
            for line in str(error).splitlines():
                click.echo(f"{PROGRAM}: {line}", err=True)
            ctx.exit(1)


def settings_options(*names: str) -> Callable[[F], F]:
    """An option for each setting, or for those named; each passes its text, unread."""

    def decorate(function: F) -> F:
        chosen = [row for row in config.table() if not names or row.name in names]
        for row in reversed(chosen):
            # `--allow-anonymous` alone means true; the others need a value.
            alone: dict[str, Any] = (
                {"is_flag": False, "flag_value": "true"} if row.is_boolean else {}
            )
            option = click.option(
                row.option,
                row.name,
                metavar="BOOLEAN" if row.is_boolean else "TEXT",
                help=f"{row.rule.help} [{row.variable}; default: {row.default_text}]",
                **alone,
            )
            function = option(function)
        return function

    return decorate


def load_settings(options: dict[str, str | None]) -> config.Settings:
    """The settings of this process: these options, its environment, `.env` where it runs."""
    return config.load(options, os.environ, Path(".env"))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """A self-hosted real-time publish/subscribe server."""


@cli.command(cls=Verb)
@settings_options()
def serve(**options: str | None) -> None:
    """Run the server until it is told to stop (SIGTERM, or Ctrl-C).

    Each setting can be given as an option, as a variable in the environment, or in a file .env
    in the working directory; the first of these that names it wins.
    """
    settings = load_settings(options)
    # Here and not at the top, so that the other verbs and --help do not wait for it.
    from .pubsub_ws import serve as run

    sys.exit(run(settings))


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


def without_password(url: str) -> str:
    return re.sub(r"(://[^/:]*):[^/]*@", r"\1:***@", url)


def main() -> None:
    """The console script."""
    cli(prog_name=PROGRAM)
