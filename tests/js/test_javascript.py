"""Runs the JavaScript client's own tests with Node's test runner, each file as one test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import RunningServer, environment

pytestmark = pytest.mark.javascript

HERE = Path(__file__).resolve().parent
FILES = sorted(path.name for path in HERE.glob("*.test.mjs"))
PACKAGES = ("ws", "typescript")
INSTALL_TIMEOUT = 120
RUN_TIMEOUT = 120


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the packages of the lock file; skips where they can't be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node and npm are not installed")
    if not all((HERE / "node_modules" / name).is_dir() for name in PACKAGES):
        installed = subprocess.run(
            [npm, "ci", "--ignore-scripts"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
            check=False,
        )
        if installed.returncode:
            pytest.skip(f"npm could not install the tests' packages: {installed.stderr[-300:]}")
    return node


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("javascript")) as server:
        yield server


@pytest.mark.parametrize("file", FILES)
def test_javascript(node: str, server: RunningServer, file: str) -> None:
    run = subprocess.run(
        [node, "--test", "--test-timeout=100000", file],
        cwd=HERE,
        env=environment(PUBSUB_URL=server.url, SERVER_PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^. skipped 0$", run.stdout, re.MULTILINE), run.stdout
