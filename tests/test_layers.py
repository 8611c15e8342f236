"""Dependencies run downwards, and each outside library is known to the modules that adapt it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "python_pubsub_server"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

# From the top down: a module imports its own layer and those below. A new module needs a place.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "pubsub_ws workers cli cli_access cli_archive cli_bench cli_connect cli_doctor cli_publish"
        " cli_subscribe cli_verbs doctor gauge",
        "routes namespaces",
        "node",
        "broker subscribing history deliveries upkeep auth access sessions standing tokens"
        " limits quota rates presence cluster cards rooms notifications votes resources monitoring"
        " graph activity alarms missed elsewhere ingress joined replaying bulletin health"
        " onlookers vitals alerts lookout reports watching trends passing",
        "journal hub feed",
        "storage bus transport",
        "client",
        "__init__ model channels errors identity config settings_text runtime logs clock wire"
        " metrics bodies",
    )
)

# Who may import an outside library: a module, and what is inside it if it is a package. A trailing
# `*` is any module whose name begins so.
ADAPTERS: dict[str, tuple[str, ...]] = {
    "flask": ("pubsub_ws", "routes", "namespaces", "transport.engineio"),
    "jinja2": ("routes.pages",),
    "flask_socketio": ("namespaces", "transport.engineio"),
    "socketio": ("namespaces", "transport.engineio"),
    "engineio": ("namespaces", "transport.engineio"),
    "eventlet": ("runtime",),
    "gevent": ("runtime",),
    "greenlet": ("runtime",),
    "sqlite3": ("storage.sqlite*", "storage.migrations*", "storage.multirow"),
    "click": ("cli", "cli_*"),
    "httptools": ("transport.http",),
    "dotenv": ("config",),
    "websocket": ("client.link",),
    "jwt": ("tokens",),
    "cryptography": ("tokens",),
    "limits": ("quota",),
    "prometheus_client": ("metrics",),
    "psutil": ("cluster", "vitals"),
    "redis": ("bus.redis*",),
    "psycopg": ("storage.postgresql*",),
}


def imported(file: Path, module: str) -> Iterator[str]:
    """Every module that a file imports, wherever in it, by its full name."""
    package = [PACKAGE, *module.split(".")]
    if file.name != "__init__.py" or file.parent.name == PACKAGE:
        package.pop()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            # `from . import x`: x may be a module; `from .x import y`: only x says what is known.
            yield from (f"{base}.{name.name}" if base == PACKAGE else base for name in node.names)


def layer_of(part: str) -> int | None:
    return next((depth for depth, names in enumerate(LAYERS) if part in names), None)


def may_import(module: str, library: str) -> bool:
    return library not in ADAPTERS or any(
        module.startswith(home[:-1])
        if home.endswith("*")
        else module == home or module.startswith(home + ".")
        for home in ADAPTERS[library]
    )


def violations(source: Path) -> list[str]:
    """Every import under a package's directory that breaks a rule, and each module without one."""
    found = []
    for file in sorted(source.rglob("*.py")):
        path = file.relative_to(source).with_suffix("").parts
        module = ".".join(path[:-1] if path[-1] == "__init__" and len(path) > 1 else path)
        own_layer = layer_of(path[0])
        if own_layer is None:
            found.append(f"{module} has no layer: give it one in LAYERS")
            continue
        for name in sorted(set(imported(file, module))):
            first, _, rest = name.partition(".")
            if first != PACKAGE:
                if not may_import(module, first):
                    found.append(f"{module} imports {first}: only {', '.join(ADAPTERS[first])} may")
                continue
            target_layer = layer_of(rest.split(".")[0])
            if target_layer is not None and target_layer < own_layer:
                found.append(f"{module} imports {rest}, which is above it")
    return found


def test_dependencies_run_downwards() -> None:
    assert violations(SOURCE) == []


def test_every_module_was_looked_at() -> None:
    assert len(list(SOURCE.rglob("*.py"))) > 20


@pytest.mark.parametrize(
    ("path", "content", "violation"),
    [
        ("hub.py", "from .broker import Broker", "hub imports broker, which is above it"),
        ("hub.py", "from . import broker", "hub imports broker, which is above it"),
        ("hub.py", "import python_pubsub_server.cli", "hub imports cli, which is above it"),
        ("hub.py", f"from {PACKAGE} import broker", "hub imports broker, which is above it"),
        (
            "storage/sqlite.py",
            "def late():\n    from ..journal import Journal",
            "storage.sqlite imports journal, which is above it",
        ),
        (
            "bus/__init__.py",
            "if TYPE_CHECKING:\n    from ..hub import Hub",
            "bus imports hub, which is above it",
        ),
        (
            "transport/engineio/polling.py",
            "from ...routes import publish",
            "transport.engineio.polling imports routes, which is above it",
        ),
        (
            "__init__.py",
            "from .pubsub_ws import main",
            "__init__ imports pubsub_ws, which is above it",
        ),
        (
            "broker.py",
            "from flask import request",
            "broker imports flask: only pubsub_ws, routes, namespaces, transport.engineio may",
        ),
        (
            "routes/publish.py",
            "import socketio.exceptions",
            "routes.publish imports socketio: only namespaces, transport.engineio may",
        ),
        (
            "transport/engineio_polling.py",
            "import engineio",
            "transport.engineio_polling imports engineio: only namespaces, transport.engineio may",
        ),
        ("journal.py", "import eventlet", "journal imports eventlet: only runtime may"),
        (
            "storage/database.py",
            "import sqlite3",
            "storage.database imports sqlite3: only storage.sqlite*, storage.migrations*,"
            " storage.multirow may",
        ),
        ("surprise.py", "", "surprise has no layer: give it one in LAYERS"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, path: str, content: str, violation: str) -> None:
    file = tmp_path / PACKAGE / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    assert violations(tmp_path / PACKAGE) == [violation]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pubsub_ws.py", "import flask\nfrom . import __version__, routes\nfrom .node import Node"),
        ("transport/engineio/polling.py", "import engineio\nfrom ..connection import Broadcast"),
        ("storage/sqlite_commit.py", "import sqlite3\nfrom ..model import Message"),
        ("runtime/gevent.py", "import gevent.event\nfrom .sockets import listen"),
        ("broker.py", "from .rooms import Room\nimport json"),
    ],
)
def test_what_the_rules_allow_is_not_reported(tmp_path: Path, path: str, content: str) -> None:
    file = tmp_path / PACKAGE / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    assert violations(tmp_path / PACKAGE) == []
