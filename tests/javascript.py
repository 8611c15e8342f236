"""Node.js packages for the tests that need them: installed once a lock file, then kept."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_TIMEOUT = 120.0


def installed(folder: Path, cache: Path) -> Path:
    """A folder with the packages that `folder`'s lock file names; skips where npm is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed (Debian: apt install nodejs npm)")
    lock = (folder / "package-lock.json").read_bytes()
    place = cache / f"{folder.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    done = place / "installed"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{place.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # another run of the tests may be at it
        if not done.exists():
            _install(folder, place)
            done.touch()
    return place


def _install(folder: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(folder / name, place / name)
    result = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, f"npm ci failed:\n{result.stdout}{result.stderr}"
