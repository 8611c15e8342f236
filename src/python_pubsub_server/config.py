"""The settings: one table that feeds the options, the environment, `.env`, the help and the docs.

`Settings` is the table. A field is a setting: its name makes the option (`--retention-seconds`)
and the variable (`PUBSUB_RETENTION_SECONDS`), its `Rule` says how text becomes its value.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from dotenv.parser import parse_stream

from .errors import WronglyWritten
from .settings_text import (
    boolean,
    choice,
    database_url,
    host,
    line,
    networks,
    optional,
    origins,
    public_key,
    rate,
    redis_url,
    seconds,
    secret,
    silences,
    whole,
)

PREFIX = "PUBSUB_"
# To listen on; without authentication only this machine is answered.
EVERY_ADDRESS = "0.0.0.0"  # nosec B104
# Of the verbs that are clients of a server; no settings, and no mistake where a server starts.
CLIENT_VARIABLES = ("PUBSUB_URL", "PUBSUB_TOKEN")


class Rule(msgspec.Struct, frozen=True):
    """How a setting is read and explained.

    `parse` turns text into the value, or raises ValueError with what to write instead.
    """

    parse: Callable[[str], Any]
    help: str
    secret: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, checked and typed; the defaults are a server that works."""

    host: Annotated[str, Rule(host, "Address to listen on.")] = EVERY_ADDRESS
    port: Annotated[int, Rule(whole(0, 65535), "Port to listen on; 0 takes a free one.")] = 5000
    database_url: Annotated[str, Rule(database_url, "Where messages are stored.", secret=True)] = (
        "sqlite:///pubsub.db"
    )
    redis_url: Annotated[
        str | None,
        Rule(
            optional(redis_url),
            "Redis that connects several nodes on one database; none: a single node.",
            secret=True,
        ),
    ] = None
    durability: Annotated[
        str,
        Rule(
            choice("full", "normal"),
            "full: an answered publish survives power loss; normal: a crash of the server only.",
        ),
    ] = "full"
    async_mode: Annotated[
        str, Rule(choice("eventlet", "gevent"), "Event loop to run on; gevent must be installed.")
    ] = "eventlet"
    allow_anonymous: Annotated[
        bool, Rule(boolean, "Serve other addresses than loopback without authentication.")
    ] = False
    jwt_secret: Annotated[
        str | None,
        Rule(optional(secret), "Secret of tokens signed with HS256, 32 bytes or more.", True),
    ] = None
    jwt_public_key: Annotated[
        str | None,
        Rule(
            optional(public_key), "Public keys of tokens: PEM, a JWKS, or a file of either.", True
        ),
    ] = None
    jwt_audience: Annotated[
        str | None, Rule(optional(line), "The audience that a token's `aud` must name.")
    ] = None
    jwt_issuer: Annotated[str | None, Rule(optional(line), "What a token's `iss` must be.")] = None
    require_known_users: Annotated[
        bool, Rule(boolean, "Refuse tokens of users that `pubsub-server users` has not added.")
    ] = False
    trusted_proxies: Annotated[
        tuple[str, ...],
        Rule(networks, "Addresses of proxies whose X-Forwarded-For is believed, with commas."),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        Rule(origins, "Origins whose pages may connect, separated by commas; * is any."),
    ] = ()
    retention_messages: Annotated[
        int, Rule(whole(1), "Messages kept of each topic; older ones are trimmed.")
    ] = 100_000
    retention_seconds: Annotated[
        float | None,
        Rule(optional(seconds(above_zero=True)), "Age at which a message is trimmed; none: never."),
    ] = None
    deduplication_seconds: Annotated[
        float, Rule(seconds(), "How long a repeated publish is recognised; 0: off.")
    ] = 120.0
    max_message_bytes: Annotated[int, Rule(whole(1), "Largest message that may be published.")] = (
        1_048_576
    )
    outbound_bytes: Annotated[
        int, Rule(whole(1), "What may wait for one slow connection before it is closed.")
    ] = 4_194_304
    rate_publish: Annotated[
        str | None,
        Rule(optional(rate), "Messages that a user, or else an address, may publish: 100/second."),
    ] = None
    rate_connect: Annotated[
        str | None,
        Rule(optional(rate), "Connections that an address, and a user, may open: 10/second."),
    ] = None
    connections_per_address: Annotated[
        int | None,
        Rule(optional(whole(1)), "Connections that another machine may have open at a time."),
    ] = 1_000
    topics_per_publisher: Annotated[
        int | None,
        Rule(optional(whole(1)), "New topics that a user, or another machine, may begin."),
    ] = 10_000
    replay_limit: Annotated[
        int, Rule(whole(1), "Messages that one subscribe may replay on one topic.")
    ] = 10_000
    chat_heartbeat_seconds: Annotated[
        float, Rule(seconds(above_zero=True), "How often chat clients are sent a heartbeat.")
    ] = 30.0
    chat_offline_seconds: Annotated[
        float,
        Rule(seconds(above_zero=True), "After how much silence a chat user is shown as offline."),
    ] = 60.0
    alert_loop_lag_ms: Annotated[
        int, Rule(whole(1), "How late the event loop may be before an alert begins.")
    ] = 250
    alert_disk_percent: Annotated[
        int, Rule(whole(0, 100), "Free part of the database's disk below which an alert begins.")
    ] = 5
    alert_silent_topics: Annotated[
        tuple[tuple[str, float], ...],
        Rule(silences, "Topics and the seconds that each may be silent: orders=60,bills=3600."),
    ] = ()
    alert_lag_messages: Annotated[
        int | None,
        Rule(optional(whole(1)), "Messages a consumer may be behind before an alert begins."),
    ] = None
    drain_seconds: Annotated[
        float, Rule(seconds(), "How long a stopping server waits for work under way.")
    ] = 10.0
    log_level: Annotated[
        str, Rule(choice("debug", "info", "warning", "error"), "Least serious lines to log.")
    ] = "info"
    log_format: Annotated[
        str, Rule(choice("text", "json"), "text: key=value lines; json: one object a line.")
    ] = "text"


class Setting(msgspec.Struct, frozen=True):
    """One row of the table, with the names it goes by."""

    name: str
    rule: Rule
    default: Any

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_boolean(self) -> bool:
        return isinstance(self.default, bool)

    @property
    def default_text(self) -> str:
        """The default as a user would write it."""
        if self.is_boolean:
            return str(self.default).lower()
        if self.default is None or self.default == ():
            return "none"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def table() -> tuple[Setting, ...]:
    """Every setting, in the order in which they are shown."""
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        Setting(field.name, hints[field.name].__metadata__[0], field.default)
        for field in msgspec.structs.fields(Settings)
    )


def load(options: Mapping[str, str | None], environ: Mapping[str, str], dotenv: Path) -> Settings:
    """The settings: an option wins over the environment, that over `.env`, that over the default.

    `options` maps the names of settings to text; None: not given. Raises WronglyWritten with
    one line for each problem there is, in all three places, also where a value is overruled.
    """
    written = _read_dotenv(dotenv)
    problems = [*_misnamed(environ, ""), *_misnamed(written, f" in {dotenv.name}")]
    values: dict[str, Any] = {}
    for setting in table():
        sources = (
            (f"{setting.variable} in {dotenv.name}", written.get(setting.variable)),
            (setting.variable, environ.get(setting.variable)),
            (setting.option, options.get(setting.name)),
        )
        for where, text in sources:
            if text is None:
                continue
            try:
                values[setting.name] = setting.rule.parse(text.strip())
            except ValueError as wanted:
                shown = "the value" if setting.rule.secret else _shown(text)
                problems.append(f"{where}: {shown} is not valid; write {wanted}")
    if problems:
        raise WronglyWritten("\n".join(problems))
    return Settings(**values)


def _read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file, as written: nothing is interpolated. No file: none."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise WronglyWritten(f"{path.name}: cannot be read: {error}") from error
    unreadable = [str(binding.original.line) for binding in bindings if binding.error]
    if unreadable:
        lines = ", ".join(unreadable)
        raise WronglyWritten(f"{path.name}: line {lines} cannot be read; write NAME=VALUE")
    return {binding.key: binding.value or "" for binding in bindings if binding.key is not None}


def _misnamed(variables: Mapping[str, str], where: str) -> Iterator[str]:
    """A line for each variable that claims to be a setting and is none of this version."""
    known = [setting.variable for setting in table()]
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in known or name in CLIENT_VARIABLES:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {close[0]}?" if close else "see pubsub-server serve --help"
        yield f"{_shown(name)[1:-1]}{where} is not a setting; {advice}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
