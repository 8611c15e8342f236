"""Where figures were taken: without it no figure means anything."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gigabytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def filesystem(path: Path) -> str:
    """The kind of file system that holds a path: on tmpfs an fsync costs nothing."""
    resolved, best, kind = path.resolve(), Path("/"), "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, found = line.split()[:3]
        where = Path(mounted)
        if resolved.is_relative_to(where) and len(where.parts) >= len(best.parts):
            best, kind = where, found
    return kind


def description() -> str:
    available = len(os.sched_getaffinity(0))
    return (
        f"{processor()}, {available} cores, {memory_gigabytes():.0f} GB, "
        f"Linux {platform.release()}, databases on {filesystem(Path(tempfile.gettempdir()))}"
    )
