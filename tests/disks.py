"""A small disk for servers, which a test fills and frees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import server as server_module

DISK_BYTES = 64 * 2**20


class Disk:
    """A small disk that can be filled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        self._ballast.write_bytes(bytes(DISK_BYTES - 2 * 2**20))

    def free(self) -> None:
        self._ballast.unlink()


# A server that reads from a file how much of its disk is free.
TOLD_DISK = """
from pathlib import Path
from python_pubsub_server import vitals
vitals.free_percent = lambda directory: float((directory / "free").read_text())
from python_pubsub_server.pubsub_ws import main
main()
"""


class ToldDisk(Disk):
    """A disk of which the servers are told that it is full."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(directory)
        self.free()
        command = server_module.serve_command

        def patched(**settings: object) -> list[str]:
            options = command(**settings)[3:]
            return [sys.executable, "-c", TOLD_DISK, *options]

        patch.setattr(server_module, "serve_command", patched)

    def fill(self) -> None:
        (self.directory / "free").write_text("3.1")

    def free(self) -> None:
        (self.directory / "free").write_text("97")


@contextmanager
def small_disk(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A real one where this machine lets us mount it, in a directory of its own."""
    place = directory / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    mounted = subprocess.run(mount, check=False, timeout=20, capture_output=True)
    if mounted.returncode:
        yield ToldDisk(place, patch)
        return
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=20)
