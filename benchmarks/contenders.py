"""Who is measured, each run as its users would run it, and on one core."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
SOURCE = HERE.parent / "src"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


@dataclass(frozen=True)
class Contender:
    """`missing` says in one line why it cannot run here, or nothing; `subscribe` and `publish`
    are the load generator's protocols, and a workload that asks for another overrides them."""

    name: str
    title: str
    stores: str
    command: Callable[[int, Path], list[str]]
    missing: Callable[[], str | None]
    version: Callable[[], str]
    subscribe: str = "socketio"
    publish: str = "http"
    environment: Mapping[str, str] = field(default_factory=dict)


def first_line(*command: str) -> str:
    """What a program says of its version; some say it on standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0].strip()


def nothing_missing() -> str | None:
    return None


# ---- this server ----


def pubsub_command(port: int, directory: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "python_pubsub_server.pubsub_ws"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--database-url", f"sqlite:///{directory}/pubsub.db"),
    ]


def pubsub_version() -> str:
    script = "import python_pubsub_server as server; print(server.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=environment,
    )
    return f"{done.stdout.strip()}, CPython {sys.version.split()[0]}"


def pubsub(durability: str, *, trims: bool = False) -> Contender:
    """Without `trims` everything is stored, as the peers do; with it, retention has its default."""
    environment = {"PYTHONPATH": str(SOURCE), "PUBSUB_DURABILITY": durability}
    if not trims:
        environment["PUBSUB_RETENTION_MESSAGES"] = "1000000000"
    special = (["trimming"] if trims else []) + (["normal"] if durability == "normal" else [])
    return Contender(
        name="-".join(["pubsub", *special]),
        title=" ".join(["python-pubsub-server", *(f"({each})" for each in special)]),
        stores=f"SQLite, {durability}",
        command=pubsub_command,
        missing=nothing_missing,
        version=pubsub_version,
        environment=environment,
    )


# ---- Node.js ----


def node_missing(package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if not shutil.which("node"):
            return "node is not installed"
        if not (PEERS / "node_modules" / package).is_dir():
            return "its packages are not installed: npm install --prefix benchmarks/peers"
        load = subprocess.run(
            ["node", "-e", f"require('{package}')"], cwd=PEERS, capture_output=True, check=False
        )
        return None if load.returncode == 0 else f"{package} does not load"

    return missing


def node_version(*packages: str) -> Callable[[], str]:
    def version() -> str:
        script = ";".join(
            f"console.log('{name}', require('./node_modules/{name}/package.json').version)"
            for name in packages
        )
        done = subprocess.run(
            ["node", "-e", script], cwd=PEERS, capture_output=True, text=True, check=True
        )
        return ", ".join([f"Node.js {first_line('node', '--version')}", *done.stdout.splitlines()])

    return version


def express(synchronous: str) -> Contender:
    def command(port: int, directory: Path) -> list[str]:
        script = str(PEERS / "express_sqlite.js")
        return ["node", script, str(port), str(directory / "peer.db"), synchronous]

    return Contender(
        name=f"express-{synchronous.lower()}",
        title=f"express + better-sqlite3 ({synchronous})",
        stores=f"SQLite, {synchronous.lower()}",
        command=command,
        missing=node_missing("better-sqlite3"),
        version=node_version("express", "socket.io", "better-sqlite3"),
        environment={"NODE_ENV": "production"},
    )


NODE_SOCKETIO = Contender(
    name="node-socketio",
    title="Node.js Socket.IO",
    stores="nothing",
    command=lambda port, _: ["node", str(PEERS / "node_socketio.js"), str(port)],
    missing=node_missing("socket.io"),
    version=node_version("socket.io"),
    environment={"NODE_ENV": "production"},
)

# ---- the others ----

FLASK_SOCKETIO = Contender(
    name="flask-socketio",
    title="Flask-SocketIO, eventlet",
    stores="nothing",
    command=lambda port, _: [sys.executable, str(PEERS / "flask_socketio_stock.py"), str(port)],
    missing=nothing_missing,
    version=lambda: ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("Flask-SocketIO", "python-socketio", "eventlet")
    ),
)


def filled_in(template: str, port: int, directory: Path) -> str:
    """A peer's configuration, with this run's port and directory."""
    text = (PEERS / template).read_text()
    user = "user root;" if os.geteuid() == 0 else ""
    text = text.replace("@PORT@", str(port)).replace("@DIRECTORY@", str(directory))
    configuration = directory / template
    configuration.write_text(text.replace("@USER@", user))
    return str(configuration)


def nchan_missing() -> str | None:
    if not shutil.which("nginx"):
        return "nginx is not installed (Debian: nginx-light)"
    if not NCHAN_MODULE.exists():
        return "nginx has no nchan (Debian: libnginx-mod-nchan)"
    return None


NCHAN = Contender(
    name="nchan",
    title="nchan (nginx)",
    stores="in memory",
    command=lambda port, directory: [
        *("nginx", "-c", filled_in("nchan.conf", port, directory)),
        *("-e", str(directory / "error.log")),
    ],
    missing=nchan_missing,
    version=lambda: f"{first_line('nginx', '-v').partition('nginx version: ')[2]}, nchan",
    subscribe="nchan",
    publish="nchan",
)

NATS = Contender(
    name="nats",
    title="NATS (TCP)",
    stores="nothing",
    command=lambda port, directory: ["nats-server", "-c", filled_in("nats.conf", port, directory)],
    missing=lambda: None if shutil.which("nats-server") else "nats-server is not installed",
    version=lambda: first_line("nats-server", "--version"),
    subscribe="nats",
    publish="nats",
    # its runtime starts a thread a core: one core is all it gets, so one it is told
    environment={"GOMAXPROCS": "1"},
)

SINK = Contender(
    name="sink",
    title="the generator's ceiling",
    stores="nothing",
    command=lambda port, _: [sys.executable, str(HERE / "sink.py"), str(port)],
    missing=nothing_missing,
    version=lambda: "sink.py",
)

CONTENDERS = {
    contender.name: contender
    for contender in (
        *(pubsub("full"), pubsub("normal"), pubsub("full", trims=True)),
        *(NODE_SOCKETIO, express("FULL"), express("NORMAL")),
        *(FLASK_SOCKETIO, NCHAN, NATS, SINK),
    )
}
