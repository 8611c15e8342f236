"""A disk that fails when it is told to: `faults.c` between SQLite and the kernel."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
PAGE = struct.Struct("8i")

WRITE, SYNC, TRUNCATE = 1, 2, 4
DATABASE, LOG = 1, 2


def build(compiler: str, directory: Path) -> Path:
    """The library to preload."""
    library = directory / "faults.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"],
        check=True,
        timeout=60,
    )
    return library


class Disk:
    """What the library is told, and what it counted."""

    def __init__(self, library: Path, database: Path) -> None:
        path = database.with_name("faults.page")
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {
            "LD_PRELOAD": str(library),
            "TORTURE_PAGE": str(path),
            "TORTURE_PREFIX": str(database),
        }

    def fail(
        self, operations: int, files: int, error: int, *, skip: int = 0, is_torn: bool = False
    ) -> None:
        PAGE.pack_into(self._page, 0, 0, files, error, skip, is_torn, 0, self.syncs, 0)
        PAGE.pack_into(self._page, 0, operations, files, error, skip, is_torn, 0, self.syncs, 0)

    def recover(self) -> int:
        """Work again; how many operations had failed."""
        failed: int = PAGE.unpack_from(self._page)[5]
        PAGE.pack_into(self._page, 0, 0, 0, 0, 0, 0, 0, self.syncs, 0)
        return failed

    @property
    def syncs(self) -> int:
        count: int = PAGE.unpack_from(self._page)[6]
        return count
