"""`pubsub-server subscribe`: messages on standard output, one a line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .cli_connect import connected, reason_of, server_options, server_url, shown, warn
from .cli_verbs import Verb
from .errors import CommandError

if TYPE_CHECKING:
    from .client import After, ClientError, Received

# What the same token will meet again.
FINAL = frozenset(("unauthenticated", "token_expired", "forbidden"))


class Start(click.ParamType[Any]):
    """A sequence, `beginning` or `consumed`."""

    name = "START"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        if text in ("beginning", "consumed"):
            return text
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            self.fail(f"{text!r}; write a sequence, beginning or consumed", param, ctx)
        return int(text)


@click.command(cls=Verb)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
@server_options
@click.option("--consumer", metavar="NAME", help="Under which name. [default: none]")
@click.option(
    "--after",
    type=Start(),
    metavar="START",
    help="Behind which sequence to begin; or `beginning`, or `consumed` (what the consumer has not "
    "confirmed). [default: consumed with --consume, else with new messages]",
)
@click.option("--consume", is_flag=True, help="Confirm each message that was printed.")
@click.option("--json", "as_json", is_flag=True, help="Print whole messages as JSON, one a line.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N messages.")
def subscribe(
    topics: tuple[str, ...],
    url: str | None,
    token: str | None,
    consumer: str | None,
    after: After,
    consume: bool,
    as_json: bool,
    count: int | None,
) -> None:
    """Print the messages of topics and patterns ("orders:*") until Ctrl-C, or N of them.

    A line is the topic, the sequence and the message as JSON. When the connection is lost, it
    connects again and goes on with the message behind the last one.
    """
    if consumer is None and (consume or after == "consumed"):
        raise click.UsageError("--consume and --after consumed need --consumer NAME.")
    if consume and after is None:
        after = "consumed"
    printer = Printer(as_json, count)
    options = {
        "consumer": consumer,
        "confirms": consume,
        "attempts": 1,
        "on_error": printer.hear_error,
        "on_unrecovered": tell_unrecovered,
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # the reader has seen enough
        follow(printer, topics, after, server_url(url), token, options)


def follow(
    printer: Printer,
    topics: Sequence[str],
    after: After,
    url: str,
    token: str | None,
    options: Mapping[str, Any],
) -> None:
    """Print messages until there are enough of them. Raises CommandError."""
    from .client import ClientError

    with connected(url, token, **options) as client:
        printer.end = client.close
        try:
            client.subscribe(topics, printer, after)
        except ValueError as error:  # two of the topics are the same messages
            raise CommandError(str(error)) from None
        except ClientError:
            if not printer.ended.is_set():  # else the first messages were enough
                raise
        printer.ended.wait()
    printer.finish()


class Printer:
    """Prints messages in the client's thread; `ended` is set when it has to stop."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self.ended = threading.Event()
        self.end: Callable[[], object] = self.ended.set
        self._as_json = as_json
        self._left = count
        self._failure: OSError | ClientError | None = None

    def __call__(self, message: Received) -> None:
        try:
            print(line_of(message, as_json=self._as_json), flush=True)
        except OSError as error:
            self._stop_for(error)
            raise
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._stop()

    def hear_error(self, error: Exception, message: Received | None) -> None:
        """What the server refuses later: some of it is the end, the rest is told."""
        from .client import ClientError

        if isinstance(error, ClientError) and error.code in FINAL:
            self._stop_for(error)
        elif isinstance(error, ClientError):
            warn(reason_of(error))

    def finish(self) -> None:
        """Raises CommandError when it was not the reader who ended it."""
        failure = self._failure
        if isinstance(failure, BrokenPipeError):
            # Nobody reads any more (`| head`): the interpreter must not try to flush at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif isinstance(failure, OSError):
            raise CommandError(f"standard output cannot be written: {failure.strerror}")
        elif failure is not None:
            raise CommandError(reason_of(failure))

    def _stop_for(self, error: OSError | ClientError) -> None:
        self._failure = self._failure or error
        self._stop()

    def _stop(self) -> None:
        self.ended.set()
        self.end()  # lets go of what is queued


def line_of(message: Received, *, as_json: bool) -> str:
    """A message as one line."""
    import msgspec

    if not as_json:
        content = json.dumps(message.message, ensure_ascii=False)
        return f"{shown(message.topic)} {message.sequence} {shown(content)}"
    fields = msgspec.structs.asdict(message)
    del fields["event"]
    return shown(json.dumps(fields, ensure_ascii=False))


def tell_unrecovered(topic: str) -> None:
    warn(f"messages of {shown(topic)} were missed and are not there any more")
