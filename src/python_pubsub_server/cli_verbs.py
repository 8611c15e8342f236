"""What the verbs have in common: options from the settings table, and errors of one line."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from . import config
from .errors import CommandError, StartError, WronglyWritten

PROGRAM = "pubsub-server"

F = TypeVar("F", bound=Callable[..., Any])


class Verb(click.Command):
    """A command that says on standard error why it cannot be done, and then exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        with reported(ctx):
            return super().invoke(ctx)


@contextlib.contextmanager
def reported(ctx: click.Context) -> Iterator[None]:
    """Turns a StartError or CommandError into lines on standard error and the exit code 1."""
    try:
        yield
    except (StartError, CommandError) as error:
        text = str(error)
        if not isinstance(error, WronglyWritten):
            text = as_typed(text, ctx.params)
        for line in text.splitlines():
            click.echo(f"{PROGRAM}: {line}", err=True)
        ctx.exit(1)


def as_typed(text: str, options: Mapping[str, Any]) -> str:
    """A text whose settings are named by their options where they were given as such."""
    for row in config.table():
        if options.get(row.name) is not None:
            text = re.sub(rf"\b{row.variable}\b", row.option, text)
    return text


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
