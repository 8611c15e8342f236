"""What would keep a server from working here, and what to do about it. Changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .bus.bus import BusFailed
from .config import EVERY_ADDRESS, Settings
from .errors import ConfigurationError, ListenError, StartError
from .node import disk_of, open_access
from .runtime.sockets import bind
from .settings_text import without_password
from .storage.examine import Examined, examine

OK, WARNING, PROBLEM = "ok", "warning", "problem"
DISTRIBUTION = "python-pubsub-server"
OLDEST_PYTHON = (3, 11)
FEW_FILES = 4_096
CLOSE_SECONDS = 2.0  # that two clocks may differ
EPOCH_OF_RELEASE = 1_767_225_600.0  # 2026-01-01: no clock is right that says less
LEAST_DISK_BYTES = 64 * 2**20
ANSWER_SECONDS = 3.0

_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^;\s]+)")


class Finding(msgspec.Struct, frozen=True):
    """One line: how it is, of what, and where it is not `ok` what to do."""

    state: str
    subject: str
    text: str


def examine_all(settings: Settings, *, thorough: bool = False) -> Iterator[Finding]:
    """Everything that is checked, in the order in which a server needs it."""
    yield python()
    yield packages(importlib.metadata.requires(DISTRIBUTION) or ())
    yield from access(settings)
    database, findings = log(settings, thorough=thorough)
    yield from findings
    directory = disk_of(settings.database_url)
    if directory is not None:
        yield disk(directory, settings.alert_disk_percent)
    yield files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield port(settings)
    clocks: dict[str, float] = {}
    if settings.redis_url is not None:
        yield redis(settings.redis_url, clocks)
    yield clock(time.time(), database, clocks)


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Finding(PROBLEM, "Python", f"{version} is too old; install 3.11 or newer")
    return Finding(OK, "Python", version)


def packages(requirements: Sequence[str]) -> Finding:
    """Whether what this server was tested with is what it would run with."""
    missing, others = [], []
    pins = [found.groups() for each in requirements if (found := _PIN.match(each))]
    for name, wanted in pins:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"'{name}=={wanted}'")
            continue
        if version != wanted:
            others.append(f"{name} {version} instead of {wanted}")
    if missing:
        return Finding(PROBLEM, "packages", f"missing; pip install {' '.join(missing)}")
    if others:
        told = ", ".join(others)
        return Finding(WARNING, "packages", f"not what it was tested with: {told}; reinstall it")
    return Finding(OK, "packages", f"all {len(pins)} in the versions it was tested with")


def access(settings: Settings) -> Iterator[Finding]:
    """Who would be let in, and whether the loop is there to serve them."""
    try:
        knows_tokens = open_access(settings) is not None
    except ConfigurationError as error:
        yield Finding(PROBLEM, "settings", str(error))
        return
    if importlib.util.find_spec(settings.async_mode) is None:
        yield Finding(
            PROBLEM,
            "settings",
            f"PUBSUB_ASYNC_MODE: {settings.async_mode} is missing; pip install "
            f"{settings.async_mode}",
        )
    elif knows_tokens:
        yield Finding(OK, "settings", "open to who has a token")
    elif settings.allow_anonymous:
        yield Finding(
            WARNING,
            "settings",
            "open to everybody who can reach the port; set PUBSUB_JWT_SECRET unless you trust "
            "that network",
        )
    else:
        yield Finding(OK, "settings", "open to this machine only")


def log(settings: Settings, *, thorough: bool) -> tuple[Examined | None, list[Finding]]:
    """What the database is like, None where it cannot be used."""
    where = without_password(settings.database_url)
    try:
        found = examine(settings.database_url, thorough=thorough)
    except StartError as error:
        return None, [Finding(PROBLEM, "database", str(error))]
    if found.epoch is None and len(found.missing) > 0:
        text = f"{where} will be made or migrated at the first start ({found.kind})"
        findings = [Finding(OK, "database", text)]
    else:
        text = f"{where} has {found.messages:,} messages, log {found.epoch} ({found.kind})"
        findings = [Finding(OK, "database", text)]
    if found.unchecked_bytes:
        findings.append(
            Finding(
                WARNING,
                "database",
                f"{found.unchecked_bytes / 1e9:,.1f} GB were not looked through for damage; "
                "--thorough does, and takes its time",
            )
        )
    if not found.is_durable:
        findings.append(
            Finding(
                WARNING,
                "database",
                "its fsync or full_page_writes is off: a power cut may lose or damage all of it; "
                "set them to on",
            )
        )
    return found, [*findings, *_owner(disk_of(settings.database_url), settings.database_url)]


def _owner(directory: Path | None, url: str) -> Iterator[Finding]:
    """root may write everything: what it sees says nothing of the server's own user."""
    path = Path(url.partition("://")[2].removeprefix("/"))
    if directory is None or os.geteuid() != 0 or not path.exists() or path.stat().st_uid == 0:
        return
    text = f"{path} belongs to another user; run this as the one that runs the server"
    yield Finding(WARNING, "database", text)


def disk(directory: Path, least_percent: float) -> Finding:
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        return Finding(PROBLEM, "disk", f"{directory}: {error.strerror}; make the directory")
    percent = 100 * usage.free / usage.total if usage.total else 0.0
    text = f"{usage.free / 1e9:,.1f} GB ({percent:.0f} %) are free in {directory}"
    if usage.free < LEAST_DISK_BYTES:
        return Finding(PROBLEM, "disk", f"{text}; make room, or publishes will be refused")
    if percent < least_percent:
        return Finding(WARNING, "disk", f"{text}; make room, or lower the retention")
    return Finding(OK, "disk", text)


def files(most: int) -> Finding:
    """How many connections the system allows a server, which raises its own limit to that."""
    if most == resource.RLIM_INFINITY:
        return Finding(OK, "files", "no limit of open files")
    if most < FEW_FILES:
        return Finding(
            WARNING,
            "files",
            f"{most:,} open files allow about {max(0, most - 100):,} connections; raise it with "
            "LimitNOFILE= (systemd) or ulimit -Hn 65536",
        )
    return Finding(OK, "files", f"{most:,} open files are allowed")


def port(settings: Settings) -> Finding:
    """Whether the address can be listened on, and if not, who does."""
    try:
        bind(settings.host, settings.port, is_shared=False).close()
    except ListenError as error:
        here = _who_answers(settings.host, settings.port)
        if here is not None:
            return Finding(OK, "port", here)
        return Finding(PROBLEM, "port", str(error))
    if settings.port == 0:
        return Finding(OK, "port", "the server will take a free one")
    return Finding(OK, "port", f"{settings.host}:{settings.port} is free")


def _who_answers(host: str, number: int) -> str | None:
    """A server of this kind that runs there already."""
    address = {EVERY_ADDRESS: "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(address, number, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/api/health")
            response = connection.getresponse()
            told: Any = json.loads(response.read(65_536))
        except (OSError, http.client.HTTPException, ValueError):
            return None
    if not isinstance(told, dict):
        return None
    if {"node_id", "version", "status"} <= told.keys():
        return (
            f"a server runs on {host}:{number} already: version {told['version']}, "
            f"{told['status']}, node {told['node_id']}"
        )
    if told.get("status") == "error" and told.get("code") in ("unauthenticated", "forbidden"):
        return f"a server runs on {host}:{number} already, and lets only those in who may"
    return None


def redis(url: str, clocks: dict[str, float]) -> Finding:
    from .bus.redis_examine import examine as examine_redis

    where = without_password(url)
    try:
        found = examine_redis(url)
    except BusFailed as error:
        reason = str(error).rstrip(".")
        advice = "see that it runs and that PUBSUB_REDIS_URL is it"
        return Finding(PROBLEM, "Redis", f"{where}: {reason}; {advice}")
    clocks["Redis"] = found.now - time.time()
    text = f"{where} answers in {found.milliseconds:g} ms (Redis {found.version})"
    return Finding(OK, "Redis", text)


def clock(now: float, database: Examined | None, ahead: Mapping[str, float]) -> Finding:
    """Whether this machine's clock can be right. `ahead`: by how much others' are, in seconds."""
    fix = "set the clock, and let NTP keep it"
    if now < EPOCH_OF_RELEASE:
        return Finding(PROBLEM, "clock", f"it says {_moment(now)}; {fix}")
    others = dict(ahead)
    if database is not None and database.now is not None:
        others["PostgreSQL"] = database.now - now
    if database is not None and database.newest_at - now > CLOSE_SECONDS:
        seconds = database.newest_at - now
        return Finding(
            WARNING,
            "clock",
            f"the newest message is {seconds:,.0f} s ahead of it ({_moment(now)}); {fix}",
        )
    for name, seconds in others.items():
        if abs(seconds) > CLOSE_SECONDS:
            return Finding(
                WARNING, "clock", f"{name} is {seconds:+,.0f} s off this machine's; {fix}"
            )
    agrees = f", and {' and '.join(others)} too" if others else ""
    return Finding(OK, "clock", f"it says {_moment(now)}{agrees}")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
