"""`pubsub-server doctor`: what would keep a server from working here."""

from __future__ import annotations

import click

from .cli_connect import shown
from .cli_verbs import Verb, load_settings, settings_options
from .errors import ConfigurationError

WIDTH = 9
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(cls=Verb)
@click.option("--thorough", is_flag=True, help="Look a large SQLite file through, too.")
@settings_options()
def doctor(thorough: bool, **options: str | None) -> None:
    """Check what a server needs: packages, settings, database, disk, port, Redis, clock.

    It takes the settings of `serve`, and changes nothing. One line for each thing: ok, warning, or
    problem with what to do. The exit code is 1 if there is a problem.
    """
    try:
        settings = load_settings(options)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            say("problem", "settings", line)
        raise SystemExit(1) from None
    from .doctor import PROBLEM, examine_all

    states = set()
    for finding in examine_all(settings, thorough=thorough):
        say(finding.state, finding.subject, finding.text)
        states.add(finding.state)
    if PROBLEM in states:
        raise SystemExit(1)


def say(state: str, subject: str, text: str) -> None:
    head = click.style(f"{state:{WIDTH}}", fg=COLOURS[state])
    click.echo(f"{head}{subject:{WIDTH}} {shown(text)}")
