"""The documentation is true: its commands run, its links lead somewhere, and it is complete."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from javascript import installed
from python_pubsub_server.cli import cli
from python_pubsub_server.config import CLIENT_VARIABLES, table
from python_pubsub_server.namespaces import NAMESPACES, WEBSOCKETS
from python_pubsub_server.routes import ROUTES
from server import ROOT, RunningServer, environment

README = ROOT / "README.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
CLIENT = ROOT / "src" / "python_pubsub_server" / "web" / "static" / "pubsub-client.js"
ADDRESS = "http://localhost:5000"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PATIENCE = 30.0

BLOCK = re.compile(r"^(?:<!-- run: ([\w.-]+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARYING = {"timestamp", "last_published_at", "connected_at", "delivered_at", "consumed_at"}
VARYING |= {"epoch", "node_id", "version", "uptime_seconds", "rate", "created_at"}


class Block(NamedTuple):
    """A block of code: `runner` is what the comment before it says that it runs with."""

    runner: str
    language: str
    code: str


class Command(NamedTuple):
    """A command with the answer that the page shows under it."""

    command: str
    answer: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[Command]:
    """The curl commands of a page's console blocks, in order."""
    found = []
    for block in blocks(page):
        if block.language == "console":
            for part in ("\n" + block.code).split("\n$ ")[1:]:
                command, _, answer = part.replace("\\\n", " ").partition("\n")
                found.append(Command(command, answer.strip()))
    return [one for one in found if one.command.startswith("curl ")]


def shape(value: Any) -> Any:
    """A JSON value, with the type in place of what differs from run to run."""
    if isinstance(value, dict):
        return {
            key: type(item).__name__ if key in VARYING else shape(item)
            for key, item in value.items()
        }
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value):
        return "an id that the server made"
    return [shape(item) for item in value] if isinstance(value, list) else value


def run_curl(command: str, server: RunningServer) -> str:
    arguments = shlex.split(command.replace(ADDRESS, server.url))
    result = subprocess.run(
        [*arguments, "--noproxy", "*", "--max-time", "20"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{command}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("page", list(filter(commands, PAGES)), ids=lambda page: page.name)
def test_curl_answers_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: apt install curl)")
    with RunningServer(tmp_path) as server:
        for command, answer in commands(page):
            got = msgspec.json.decode(run_curl(command, server))
            assert shape(got) == shape(msgspec.json.decode(answer)), command


def test_the_pages_have_commands() -> None:
    assert len(commands(README)) >= 2
    assert len(commands(PROTOCOL)) >= 5


def programs() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.runner]


def program(block: Block, url: str, folder: Path, cache: Path) -> list[str]:
    """The command that runs a page's program against a server."""
    code = block.code.replace(f"{ADDRESS}/static/pubsub-client.js", CLIENT.as_uri())
    code = code.replace(ADDRESS, url)
    if block.runner == "python":
        (folder / "program.py").write_text(code, encoding="utf-8")
        return [sys.executable, str(folder / "program.py")]
    if block.runner == "socket.io-client":
        packages = installed(ROOT / "examples", cache)
    else:
        assert block.runner == "pubsub-client"
        packages = installed(ROOT / "tests" / "js", cache)
        code = f'globalThis.WebSocket ??= (await import("ws")).WebSocket;\n{code}'
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "program.mjs").write_text(code, encoding="utf-8")
    return ["node", str(folder / "program.mjs")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("docs")) as server:
        yield server


@pytest.mark.javascript
@pytest.mark.parametrize("block", programs(), ids=lambda block: block.runner)
def test_a_program_of_a_page_gets_a_message(
    block: Block, server: RunningServer, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Each of them prints what comes on `orders`, the sequence included."""
    command = program(block, server.url, tmp_path, pytestconfig.cache.mkdir("javascript"))
    before = server.log.count(" subscribed ")
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        server.until(
            lambda: process.poll() is not None or server.log.count(" subscribed ") > before
        )
        server.publish("orders", {"total": 1}, message_id=tmp_path.name)
        sequence = server.get("/topics")[0]["sequence"]
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith(f"orders {sequence} "), said + process.stdout.read()
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
    server.until(lambda: not server.get("/clients"))


def test_the_backup_of_a_running_server_can_be_served(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(r"^pubsub-server (backup .+)$", text, re.MULTILINE)
    assert found
    program = (sys.executable, "-c", "from python_pubsub_server.cli import main; main()")
    with RunningServer(tmp_path, database_url="sqlite:///pubsub.db") as server:
        server.publish("orders", {"total": 1})
        backup = [*program, *shlex.split(found[1])]
        subprocess.run(backup, cwd=tmp_path, env=environment(), check=True, timeout=PATIENCE)
        epoch = server.get("/topics/orders/messages")["epoch"]
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(tmp_path / "pubsub-backup.db", restored / "pubsub.db")
    with RunningServer(restored) as server:
        page = server.get("/topics/orders/messages")
    assert page["epoch"] == epoch
    assert [message["message"] for message in page["messages"]] == [{"total": 1}]


@pytest.mark.parametrize(
    "image", sorted((ROOT / "docs").rglob("*.png")), ids=lambda path: path.name
)
def test_a_picture_is_small(image: Path) -> None:
    assert image.stat().st_size < 400_000


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures that are in this repository."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r'(?:src|srcset|href)="([^"]+)"', text
    )
    yield from (link for link in found if not re.match(r"[a-z]+:", link))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in ROUTES])
def test_the_protocol_describes_a_route(method: str, path: str) -> None:
    shown = re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", path)
    pattern = rf"`{method} {re.escape(shown)}[?`]"
    assert re.search(pattern, PROTOCOL.read_text(encoding="utf-8")), f"{method} {shown}"


@pytest.mark.parametrize(
    ("namespace", "event"),
    [(name, event) for name, space in NAMESPACES.items() for event in space.events],
)
def test_the_protocol_describes_an_event(namespace: str, event: str) -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    assert f"`{namespace}`" in text
    assert re.search(rf"^(?:#+|\|) `{re.escape(event)}[` ]", text, re.MULTILINE), event


def client_methods() -> list[str]:
    """What the JavaScript client offers, by its types."""
    types = CLIENT.with_suffix(".d.ts").read_text(encoding="utf-8")
    body = types.split("export class PubSubClient ")[1].split("\n}")[0]
    return [
        name
        for name in re.findall(r"^  (\w+)(?:<T>)?\(", body, re.MULTILINE)
        if name != "constructor"
    ]


@pytest.mark.parametrize("method", client_methods())
def test_the_page_of_the_javascript_client_describes_a_method(method: str) -> None:
    page = (ROOT / "docs" / "javascript-client.md").read_text(encoding="utf-8")
    assert f"\n| `{method}(" in page


def test_the_methods_of_the_javascript_client_are_found() -> None:
    assert {"publish", "pause", "close"} <= set(client_methods())


@pytest.mark.parametrize("path", WEBSOCKETS)
def test_the_protocol_describes_a_websocket(path: str) -> None:
    assert f"`{path}`" in PROTOCOL.read_text(encoding="utf-8")


def mentioned(pattern: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for word in re.findall(pattern, page.read_text(encoding="utf-8")):
                yield page.name, word


def is_make_target(name: str) -> bool:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE) is not None


def is_setting(name: str) -> bool:
    return name in [setting.variable for setting in table()] or name in CLIENT_VARIABLES


@pytest.mark.parametrize(
    ("pattern", "exists"),
    [
        (r"`make ([a-z-]+)", is_make_target),
        (r"^make ([a-z-]+)", is_make_target),
        (r"\b(PUBSUB_(?!PROT\b)[A-Z_]*[A-Z])\b", is_setting),
        (r"(?<!-)pubsub-server ([a-z]+)", lambda verb: verb in cli.commands),
        (r"\b(tests/[\w/]+(?:\.py)?)", lambda path: (ROOT / path).exists()),
    ],
    ids=["make", "make in blocks", "settings", "verbs", "tests"],
)
def test_what_a_page_names_exists(pattern: str, exists: Callable[[str], bool]) -> None:
    found = list(mentioned(f"(?m){pattern}"))
    assert found
    assert [place for place in found if not exists(place[1])] == []


def test_the_readme_names_every_verb() -> None:
    rows = re.findall(r"^\| (`[a-z`, ]+`) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"[a-z]+", " ".join(rows))) >= set(cli.commands)


def test_a_page_finds_its_commands_programs_and_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Some *title*, here\n[a](other.md#x) [b](https://example.com)\n"
        '<img src="c.png">\n'
        '```console\n$ curl -s a \\\n    -d b\n{"x":1}\n$ ls\nfile\n```\n'
        "<!-- run: python -->\n```python\npass\n```\n",
        encoding="utf-8",
    )
    assert commands(page) == [Command("curl -s a      -d b", '{"x":1}')]
    assert [block.runner for block in blocks(page)] == ["", "python"]
    assert list(links(page)) == ["other.md#x", "c.png"]
    assert anchors(page) == {"some-title-here"}


def test_a_shape_keeps_what_must_be_equal() -> None:
    assert shape([{"timestamp": 1.5, "b": "x"}]) == shape([{"timestamp": 2.5, "b": "x"}])
    assert shape({"timestamp": 1.5}) != shape({"timestamp": None})
    assert shape({"sequence": 1}) != shape({"sequence": 2})
    assert shape([{"status": "ok"}]) != shape([{"status": "error"}])
    assert shape([1]) != shape([1, 1])
