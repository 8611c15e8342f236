"""Builds the load generator and runs it once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from process import pinned

SOURCE = Path(__file__).resolve().parent / "loadgen.c"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")

Result = dict[str, Any]


class GeneratorFailed(Exception):
    """No numbers: the generator could not be built, or gave up; the text is what it said."""


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def build(directory: Path) -> Path:
    """Compile the load generator into a directory."""
    found = compiler()
    if found is None:
        raise GeneratorFailed("the load generator needs a C compiler: cc, or another named by CC")
    program = directory / "loadgen"
    command = [found, *FLAGS, "-o", str(program), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise GeneratorFailed(done.stderr.strip())
    return program


def generate(
    program: Path, arguments: Sequence[str], *, core: int | None, timeout: float = 150.0
) -> Result:
    """Run the load generator on one core or on all; what it counted (see its `measure`)."""
    try:
        done = subprocess.run(
            pinned([str(program), *arguments], core),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GeneratorFailed(f"no end after {timeout:.0f} s") from None
    if done.returncode:
        raise GeneratorFailed(done.stderr.strip() or f"exit code {done.returncode}")
    result: Result = json.loads(done.stdout)
    if result["refused"]:
        raise GeneratorFailed(f"{result['refused']} refused; {done.stderr.strip()}")
    return result
