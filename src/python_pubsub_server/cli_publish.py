"""`pubsub-server publish`: a message from the command line, or one for each line that comes in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .cli_connect import connected, own_name, reason_of, server_options, server_url, shown
from .cli_verbs import Verb
from .errors import CommandError

if TYPE_CHECKING:
    from .client import PubSubClient

FORMS = ("json", "text")


@click.command(cls=Verb)
@click.argument("topic")
@click.argument("message")
@server_options
@click.option(
    "--producer",
    metavar="NAME",
    help="Who publishes. [default: the token's user, or a name made up]",
)
@click.option(
    "--message-id",
    metavar="ID",
    help="Published again with the same content within two minutes, it is stored once. "
    "[default: an id made up]",
)
@click.option("--as", "form", type=click.Choice(FORMS), help="Read MESSAGE as this only.")
@click.option("--quiet", "-q", is_flag=True, help="Do not say what was stored.")
def publish(
    topic: str,
    message: str,
    url: str | None,
    token: str | None,
    producer: str | None,
    message_id: str | None,
    form: str | None,
    quiet: bool,
) -> None:
    """Publish MESSAGE on TOPIC; -: each line of standard input, one after the other.

    What is JSON is published as it is, anything else as text. What begins as JSON does, with {, [
    or ", and is none, is refused: --as text publishes it all the same.

    Prints the topic and the sequence of each message once it is on the server's disk.
    """
    if message == "-" and message_id is not None:
        raise click.UsageError("--message-id names one message; with - every line is one.")
    where = server_url(url)
    contents = (
        lines(form) if message == "-" else [("MESSAGE", content_of(message, form, "MESSAGE"))]
    )
    with connected(where, token, producer=producer or own_name(token)) as client:
        for place, content in contents:
            said = store(client, topic, content, message_id, "" if message != "-" else f"{place}: ")
            if not quiet:
                click.echo(said)


def store(
    client: PubSubClient, topic: str, content: Any, message_id: str | None, place: str
) -> str:
    """Publish one message and say where it is stored. Raises CommandError."""
    from .client import ClientError

    try:
        receipt = client.publish(topic, content, message_id=message_id)
    except ClientError as error:
        raise CommandError(place + reason_of(error)) from None
    except ValueError as error:  # NaN, Infinity, half of a character
        raise CommandError(f"{place}this cannot be a message: {error}") from None
    again = " (stored before)" if receipt.duplicate else ""
    return f"{shown(topic)} {receipt.sequence}{again}"


def lines(form: str | None) -> Iterator[tuple[str, Any]]:
    """The lines of standard input that have something on them, each with its place."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CommandError(f"line {number} is not UTF-8; the lines before it are stored") from (
                None
            )
        if text.strip():
            yield f"line {number}", content_of(text, form, f"line {number}")


def content_of(text: str, form: str | None, place: str) -> Any:
    """What a text stands for. Raises CommandError."""
    if form == "text":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if form == "json" or text.lstrip()[:1] in ("{", "[", '"'):
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise CommandError(
                f"{place} is not JSON ({reason}); to publish it as text: --as text"
            ) from None
        return text
