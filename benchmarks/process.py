"""A server under test: pinned to a core, waited for until it listens, and always stopped."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

LOG = "server.log"
START_SECONDS = 20.0
STOP_SECONDS = 15.0


class NotStarted(Exception):
    """A server did not begin to listen; the text holds the end of what it printed."""


def cores() -> tuple[int, int]:
    """The core for the server and the one for the load generator; on one core they share it."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def allow_many_files() -> None:
    """Raise the soft limit of open files for the servers and the generator that are started."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """The command on one core; `taskset` becomes the command, so the process id stays.

    Without a core the command is on all of them.
    """
    if core is None:
        return list(command)
    return ["taskset", "--cpu-list", str(core), *command]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def core_seconds(core: int) -> float:
    """What all processes, and a hypervisor's other guests, have used of a core, since any moment.

    All of the time but the idle one, which is measured; the ticks of user and system time are only
    sampled, and a load of even steps in time with them is taken for all of a core or none of it.
    """
    now = time.monotonic()
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            idle, waiting = int(ticks[3]), int(ticks[4])
            return now - (idle + waiting) / os.sysconf("SC_CLK_TCK")
    raise ValueError(f"no core {core}")


def process_seconds(pids: Sequence[int]) -> float:
    """What processes have used of any core so far."""
    ticks = 0
    for pid in pids:
        # the name, in parentheses, may hold anything: fields are counted from its end
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    core: int | None,
    directory: Path,
    environment: Mapping[str, str],
) -> Iterator[list[int]]:
    """Run a server on one core or on all; yields the ids of its processes once it listens.

    Settings of the caller's own environment stay out of it.
    """
    inherited = {name: value for name, value in os.environ.items() if name[:7] != "PUBSUB_"}
    with (directory / LOG).open("wb") as output:
        process = subprocess.Popen(
            pinned(command, core),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **environment},
            cwd=directory,
        )
    try:
        wait_until_listening(process, port, directory)
        yield family(process.pid)
    finally:
        stop(process)


def last_words(directory: Path) -> str:
    """The end of what the server run in a directory printed."""
    printed = (directory / LOG).read_text(errors="replace").strip()
    return f"the server printed: {printed[-400:]}" if printed else "the server printed nothing"


def wait_until_listening(process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise NotStarted(last_words(directory))


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
