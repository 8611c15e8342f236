"""`pubsub-server users` and `pubsub-server token`: whom the server lets in.

Both work beside a running server, which follows within a second.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .cli_verbs import Verb, load_settings, reported, settings_options
from .errors import ConfigurationError, DatabaseError, RequestError
from .identity import Rights
from .storage.registry import Registry

MOMENT = "%Y-%m-%d %H:%M:%S"
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@contextlib.contextmanager
def open_registry(options: dict[str, str | None]) -> Iterator[Registry]:
    """The users of the database of the settings. Raises StartError."""
    from .storage.database import ReadFailed, WriteFailed, open_database

    settings = load_settings(options)
    try:
        registry = open_database(settings.database_url, durability=settings.durability).registry()
        with contextlib.closing(registry):
            yield registry
    except (ReadFailed, WriteFailed) as error:
        raise DatabaseError(f"the users cannot be read or changed: {error}") from None


def checked_name(name: str) -> str:
    """A user's name. Raises ConfigurationError."""
    from .tokens import check_subject

    try:
        return check_subject(name)
    except RequestError as error:
        raise ConfigurationError(error.message.replace("`sub`", "the name")) from None


@click.group()
def users() -> None:
    """Add, list, disable and enable users.

    A disabled user is let in no more, and its connections end at once. Whether others than those
    added here are let in is the setting PUBSUB_REQUIRE_KNOWN_USERS.
    """


@users.command(cls=Verb)
@click.argument("name")
@settings_options("database_url")
def add(name: str, **options: str | None) -> None:
    """Make a user known."""
    with open_registry(options) as registry:
        if not registry.add_user(checked_name(name), time.time()):
            raise ConfigurationError(f"there is a user {name!r} already")
    click.echo(f"added {name}")


@users.command("list", cls=Verb)
@settings_options("database_url")
def list_users(**options: str | None) -> None:
    """Show all users: the name, since when, and whether it is disabled."""
    with open_registry(options) as registry:
        for user in registry.users():
            disabled = (
                "" if user.disabled_at is None else f"\tdisabled since {moment(user.disabled_at)}"
            )
            click.echo(f"{user.name}\tadded {moment(user.created_at)}{disabled}")


@users.command(cls=Verb)
@click.argument("name")
@settings_options("database_url")
def disable(name: str, **options: str | None) -> None:
    """Refuse a user, whatever its token says, and end its connections."""
    with open_registry(options) as registry:
        was_known = registry.disable_user(checked_name(name), time.time())
    click.echo(f"disabled {name}" + ("" if was_known else " (who was not known before)"))


@users.command(cls=Verb)
@click.argument("name")
@settings_options("database_url")
def enable(name: str, **options: str | None) -> None:
    """Let a disabled user in again."""
    with open_registry(options) as registry:
        if not registry.enable_user(name):
            raise ConfigurationError(f"there is no user {name!r}; add it")
    click.echo(f"enabled {name}")


class Duration(click.ParamType[float]):
    """`90s`, `15m`, `1h`, `30d`, or seconds."""

    name = "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is no duration; write 90s, 15m, 1h or 30d", param, ctx)
        return float(int(found[1]) * UNITS[found[2] or "s"])


@click.group(invoke_without_command=True)
@click.option("--sub", metavar="USER", help="Who the token is for.")
@click.option(
    "--publish", multiple=True, metavar="PATTERN", help="A topic or pattern to publish on."
)
@click.option("--subscribe", multiple=True, metavar="PATTERN", help="One to subscribe to.")
@click.option("--admin", is_flag=True, help="May see everything that happens on the server.")
@click.option(
    "--expires", type=Duration(), default="1h", show_default=True, help="90s, 15m, 1h, 30d."
)
@click.option(
    "--private-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Sign with this PEM, the other half of PUBSUB_JWT_PUBLIC_KEY, and not with the secret.",
)
@click.option("--kid", metavar="NAME", help="The name of that key, where the server knows several.")
@settings_options("jwt_secret", "jwt_audience", "jwt_issuer")
@click.pass_context
def token(
    context: click.Context,
    /,
    sub: str | None,
    publish: tuple[str, ...],
    subscribe: tuple[str, ...],
    admin: bool,
    expires: float,
    private_key: Path | None,
    kid: str | None,
    **options: str | None,
) -> None:
    """Print a token; its id, by which it can be revoked, goes to standard error.

    Without --publish, --subscribe and --admin it has the rights of every user.
    """
    if context.invoked_subcommand is not None:
        return
    if sub is None:
        raise click.UsageError("Missing option '--sub'.")
    with reported(context):
        rights = Rights(publish, subscribe, admin) if publish or subscribe or admin else None
        print_token(sub, rights, expires, private_key, kid, options)


def print_token(
    sub: str,
    rights: Rights | None,
    seconds: float,
    private_key: Path | None,
    kid: str | None,
    options: dict[str, str | None],
) -> None:
    """Raises StartError."""
    from .tokens import sign, signing_key

    settings = load_settings(options)
    try:
        pem = None if private_key is None else private_key.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{private_key} cannot be read: {error.strerror}") from None
    key = signing_key(settings.jwt_secret, pem, kid)
    now = time.time()
    try:
        text, token_id = sign(
            key,
            sub,
            rights,
            now=now,
            seconds=seconds,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except RequestError as error:
        raise ConfigurationError(error.message) from None
    click.echo(text)
    click.echo(f"token {token_id} of {sub} until {moment(now + seconds)}", err=True)


@token.command(cls=Verb)
@click.argument("jti")
@click.option("--expires", type=Duration(), help="In how long it ends by itself, if you know.")
@settings_options("database_url")
def revoke(jti: str, expires: float | None, **options: str | None) -> None:
    """Refuse a token from now on, by its id (the claim jti), and end its connections."""
    if not 0 < len(jti) <= 200 or not jti.isprintable():
        raise ConfigurationError("an id has 1 to 200 printable characters")
    now = time.time()
    with open_registry(options) as registry:
        registry.revoke(jti, now, None if expires is None else now + expires)
    click.echo(f"revoked {jti}")


def moment(seconds: float) -> str:
    return time.strftime(MOMENT, time.gmtime(seconds)) + " UTC"
