"""Several processes on one log: what more of them bring, and what the way between them costs.

1, 2 and 3 processes share SQLite, then PostgreSQL, with a Redis between them. Nothing is bound to a
core: the system shares the cores out among them, the database, Redis and the load generator.

python benchmarks/nodes.py            prints a Markdown table
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contenders import CONTENDERS
from generator import Result, build, generate
from process import allow_many_files, free_port, running
from report import amount, busy, markdown_table
from workloads import MESSAGE_BYTES, WORKLOADS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

COUNTS, QUICK_COUNTS = (1, 2, 3), (1, 2)
SECONDS = 3.0
PUBLISH, FAN_OUT = WORKLOADS["publish"].arguments, WORKLOADS["fanout-32"].arguments
PASS_ON = "--subscribers 100 --publishers 8 --rate 200"
# Ended by their number, so that it runs on a machine that is busy, too.
QUICK = "--warmup 0 --seconds 20 --limit 200 --subscribers 20"


@dataclass(frozen=True)
class Report:
    """So many processes on a database: what the generator counted of each load."""

    database: str
    processes: int
    publishing: Result
    fanning_out: Result
    passing_on: Result

    def row(self) -> tuple[str, ...]:
        latency = self.passing_on["delivery_latency"]
        return (
            self.database,
            str(self.processes),
            f"**{a_second(self.publishing, 'published')}**",
            busy(self.publishing, "cpu_seconds"),
            f"**{a_second(self.fanning_out, 'delivered')}**",
            busy(self.fanning_out, "cpu_seconds"),
            amount(latency["p50_us"] / 1e3),
            f"**{amount(latency['p99_us'] / 1e3)}**",
            self.remark(),
        )

    def remark(self) -> str:
        missing = self.fanning_out["missing"] + self.passing_on["missing"]
        return f"NOT all delivered: {missing:,} missing after 5 s" if missing else ""


def a_second(result: Result, count: str) -> str:
    return amount(result[count] / result["elapsed_seconds"])


@contextmanager
def processes(
    count: int, database_url: str, redis_url: str, directory: Path
) -> Iterator[tuple[list[int], list[int]]]:
    """So many servers, each on a port of its own: the ports, and the ids of the processes."""
    ports, pids = [], []
    with ExitStack() as stack:
        for number in range(1, count + 1):
            port, own = free_port(), directory / f"{count}-{number}"
            own.mkdir()
            command = [
                *(sys.executable, "-m", "python_pubsub_server.pubsub_ws", "--host=127.0.0.1"),
                *(f"--port={port}", f"--database-url={database_url}", f"--redis-url={redis_url}"),
            ]
            environment = CONTENDERS["pubsub"].environment
            pids += stack.enter_context(running(command, port, None, own, environment))
            ports.append(port)
        yield ports, pids


def put_under_load(
    program: Path, ports: Sequence[int], pids: Sequence[int], database: str, options: Sequence[str]
) -> Report:
    """Each load in turn. The way from process to process begins at the first, ends at the last."""

    def run(arguments: str, subscribe: Sequence[int], publish: Sequence[int]) -> Result:
        wanted = [
            *("--port", ",".join(map(str, subscribe))),
            *("--publish-port", ",".join(map(str, publish))),
            *("--watch", ",".join(map(str, pids)), "--size", str(MESSAGE_BYTES)),
            *(*arguments.split(), *options),
        ]
        return generate(program, wanted, core=None)

    return Report(
        database,
        len(ports),
        run(PUBLISH, ports, ports),
        run(FAN_OUT, ports, ports),
        run(PASS_ON, ports[-1:], ports[:1]),
    )


def table(reports: Sequence[Report]) -> str:
    head = (
        "they share",
        "processes",
        "publishes/s",
        "CPU of the processes",
        "deliveries/s",
        "CPU of the processes",
        "from one to another, p50 ms",
        "p99 ms",
        "",
    )
    cores = f"{len(os.sched_getaffinity(0))} cores for all that runs:"
    return f"{cores}\n\n{markdown_table(head, [report.row() for report in reports])}"


def measure(*, is_quick: bool = False) -> str:
    """The table; a reason, where what brings the databases is not installed."""
    try:
        from postgresql import PostgreSQL
        from redis_server import RedisServer
    except ImportError as error:
        return f"Skipped: {error}."
    counts = QUICK_COUNTS if is_quick else COUNTS
    options = QUICK.split() if is_quick else ["--seconds", str(SECONDS)]
    reports = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pubsub-bench-")))
        redis = stack.enter_context(RedisServer(directory))
        postgresql = PostgreSQL()
        stack.callback(postgresql.stop)
        postgresql.start(is_durable=True)
        program = build(directory)
        databases: dict[str, Callable[[Path], str]] = {
            "SQLite": lambda own: f"sqlite:///{own}/pubsub.db",
            "PostgreSQL": lambda _: postgresql.new_database(),
        }
        for name, new_url in databases.items():
            for count in counts:
                own = directory / f"{name}-{count}"
                own.mkdir()
                with processes(count, new_url(own), redis.url, own) as (ports, pids):
                    reports.append(put_under_load(program, ports, pids, name, options))
                print("  ".join(reports[-1].row()), file=sys.stderr, flush=True)
    return table(reports)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="see that it runs; no figures")
    allow_many_files()
    print(measure(is_quick=parser.parse_args(arguments).quick))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
