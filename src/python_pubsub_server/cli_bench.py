"""`pubsub-server bench`: how fast a server is here, roughly."""

from __future__ import annotations

import contextlib
import os
import subprocess  # nosec B404
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_connect import own_name, reason_of, server_options, try_out, warn
from .cli_verbs import Verb, load_settings
from .config import PREFIX
from .errors import CommandError

if TYPE_CHECKING:
    from .gauge import Load

START_SECONDS = 30.0
STOP_SECONDS = 30.0
READY = "listening on "


@click.command(cls=Verb)
@server_options
@click.option("--publishers", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N")
@click.option(
    "--subscribers", type=click.IntRange(0, 64), default=4, show_default=True, metavar="N"
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    help="How long each of the two parts takes.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    metavar="BYTES",
    help="How long each message is.",
)
def bench(
    url: str | None,
    token: str | None,
    publishers: int,
    subscribers: int,
    seconds: float,
    size: int,
) -> None:
    """Measure publishes and deliveries a second, and how long they take.

    Without --url on a server of its own, with an empty database beside the one that the settings
    name, which is deleted afterwards. With --url on one that runs: the messages stay in its log, on
    a topic of their own, until they are trimmed.

    This is a glance: the Python clients take as much of the machine as the server does, or more.
    For how fast the server is, and beside others, see docs/benchmarks.md and `make bench`.
    """
    from .gauge import Load

    load = Load(publishers, subscribers, seconds, size)
    topic = f"bench:{uuid.uuid4().hex[:8]}"
    if url is not None:
        report(url, token, topic, load)
        click.echo(f"its messages stay in the log of {url}, on the topic {topic}")
        return
    with server_of_its_own() as address:
        report(address, None, topic, load)


def report(url: str, token: str | None, topic: str, load: Load) -> None:
    """Measure a server and say what was found. Raises CommandError."""
    from .client import ClientError, PubSubClient
    from .gauge import measure

    def open_client() -> PubSubClient:
        return PubSubClient(url, token=token, producer=own_name(token))

    try:
        try_out(url, token)
        found = measure(open_client, topic, load, warn)
    except ClientError as error:
        raise CommandError(reason_of(error)) from None
    rows = [
        ("publishes", f"{found.publishes_per_second:,.0f} a second"),
        ("answered", percentiles(found.answered_ms)),
    ]
    if load.subscribers:
        rows += [
            ("deliveries", f"{found.deliveries_per_second:,.0f} a second"),
            ("on the way", f"{percentiles(found.delivered_ms)}, when it is calm"),
        ]
    for name, text in rows:
        click.echo(f"{name:12}{text}")
    if found.missing:
        raise CommandError(f"{found.missing:,} deliveries did not come within half a minute")
    click.echo(
        f"{found.published:,} messages of {load.size} bytes, {load.publishers} publishers and "
        f"{load.subscribers} subscribers in Python on this machine; nothing was lost. How it "
        "compares with others: docs/benchmarks.md"
    )


def percentiles(milliseconds: tuple[float, float]) -> str:
    return "p50 {:,.2f} ms, p99 {:,.2f} ms".format(*milliseconds)


@contextlib.contextmanager
def server_of_its_own() -> Iterator[str]:
    """The URL of a server that is there for this; its database is on the disk of the real one."""
    from .node import disk_of

    settings = load_settings({})
    place = disk_of(settings.database_url) or Path.cwd()
    try:
        folder = tempfile.TemporaryDirectory(prefix=".pubsub-bench-", dir=place)
    except OSError as error:
        raise CommandError(f"{place} cannot be written: {error.strerror}") from None
    with folder as directory:
        command = [sys.executable, "-m", "python_pubsub_server.pubsub_ws"]
        options = ("--host=127.0.0.1", "--port=0", f"--durability={settings.durability}")
        # Nothing of what the real one is told: no tokens, no limits, no other nodes.
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith(PREFIX)
        }
        # our own program, with nothing of anybody else in its command
        process = subprocess.Popen(  # nosec B603
            [*command, *options, f"--async-mode={settings.async_mode}"],
            cwd=directory,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            warn(
                f"measuring a server of its own, with durability {settings.durability}, in {place}"
            )
            yield _address(process)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _address(process: subprocess.Popen[str]) -> str:
    """Where it listens. Raises CommandError."""
    lines: list[str] = []
    heard = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                lines.append(line.strip())
                if READY in line:
                    heard.set()
        heard.set()

    threading.Thread(target=read, daemon=True).start()
    heard.wait(START_SECONDS)
    ready = next((line for line in lines if READY in line), None)
    if ready is None:
        raise CommandError(f"the server did not start: {lines[-1] if lines else 'it says nothing'}")
    return ready.partition(READY)[2].partition('"')[0]
