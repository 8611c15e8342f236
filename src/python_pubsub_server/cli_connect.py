"""What the verbs have in common that are clients: which server, who one is, and clear refusals."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .cli_verbs import PROGRAM, load_settings
from .errors import CommandError
from .settings_text import without_password

if TYPE_CHECKING:
    from .client import ClientError, PubSubClient

CONNECT_SECONDS = 10.0
HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
JOINERS = "\u200c\u200d"  # within words and emoji

F = TypeVar("F", bound=Callable[..., Any])


def server_options(function: F) -> F:
    """`--url` and `--token`."""
    token = click.option(
        "--token",
        envvar="PUBSUB_TOKEN",
        metavar="TOKEN",
        help="Who this is. Others on this machine can read an option, but not the variable. "
        "[PUBSUB_TOKEN]",
    )
    url = click.option(
        "--url",
        envvar="PUBSUB_URL",
        metavar="URL",
        help="The server. [PUBSUB_URL; default: this machine, at PUBSUB_PORT]",
    )
    return url(token(function))


def server_url(url: str | None) -> str:
    """The server that is meant. Raises ConfigurationError."""
    return url or f"http://127.0.0.1:{load_settings({}).port}"


@contextlib.contextmanager
def connected(url: str, token: str | None, **options: Any) -> Iterator[PubSubClient]:
    """A client of a server that was there a moment ago. Raises CommandError.

    What the server refuses while it is used becomes a CommandError, too.
    """
    from .client import ClientError

    try:
        from .client import PubSubClient

        _tell_losses()
        try_out(url, token)
        with PubSubClient(url, token=token, **options) as client:
            yield client
    except ClientError as error:
        raise CommandError(reason_of(error)) from None


def try_out(url: str, token: str | None) -> None:
    """Connect once and leave, because a client would go on trying.

    Raises CommandError, or ClientError when the server does not want this client.
    """
    from .client.link import Link, LinkLost, socket_url

    shown = without_password(url)
    try:
        link = Link(socket_url(url), {"token": token} if token else None, CONNECT_SECONDS)
    except ValueError:
        raise CommandError(
            f"--url: write the address of a server such as http://127.0.0.1:5000, not {shown!r}"
        ) from None
    except LinkLost as error:
        raise CommandError(f"no server answers at {shown}: {_line(error)}") from None
    link.close()


def own_name(token: str | None) -> str | None:
    """The name under which the user of a token publishes, where the token says it."""
    from .client.credentials import claims_of

    subject = claims_of(token or "").get("sub")
    return subject if isinstance(subject, str) else None


def reason_of(error: ClientError) -> str:
    """What a server or the client refused, with what to do about it."""
    advice = ""
    if error.code == "unauthenticated":
        advice = "; give a valid one with --token or PUBSUB_TOKEN"
    elif error.code == "token_expired":
        advice = " (--token, PUBSUB_TOKEN)"
    return _line(error).rstrip(".") + advice


def warn(text: str) -> None:
    click.echo(f"{PROGRAM}: {text}", err=True)


def shown(text: str) -> str:
    """Text for a terminal: nothing in it ends the line, or is a command to the terminal."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    is_hidden = category in HIDDEN and character not in JOINERS
    return json.dumps(character)[1:-1] if is_hidden else character


def _line(error: BaseException) -> str:
    text = re.sub(r"^\[Errno \d+\] ", "", " ".join(str(error).split()))
    return shown(text) or type(error).__name__


class _Losses(logging.Handler):
    """Says that a client has lost its connection, each reason once in a row."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said = ""

    def emit(self, record: logging.LogRecord) -> None:
        error = next((each for each in record.args or () if isinstance(each, Exception)), None)
        if record.levelno > logging.INFO or error is None:
            return  # told by the client's callbacks
        text = f"no connection ({_line(error)}); trying again"
        if text != self._said:
            self._said = text
            warn(text)


def _tell_losses() -> None:
    logger = logging.getLogger("pubsub.client")
    logger.handlers = [_Losses()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
