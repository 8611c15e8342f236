"""Runs workloads against this server and its peers side by side.

python benchmarks/run.py --all                          everything, and docs/benchmarks.md
python benchmarks/run.py --all --quick                  the targets only, once, in short
python benchmarks/run.py --workload NAME --peer NAME    a piece; both may be repeated
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import machine
from contenders import CONTENDERS, Contender, first_line
from generator import GeneratorFailed, Result, build, compiler, generate
from page import Occasion, Tables, page
from plot import svg
from process import (
    NotStarted,
    allow_many_files,
    core_seconds,
    cores,
    free_port,
    last_words,
    process_seconds,
    running,
)
from report import OURS, Row, amount, details, median_row, target_table, verdicts, with_unit
from workloads import MESSAGE_BYTES, REPEATS, WORKLOADS, Workload

DOCS = Path(__file__).resolve().parent.parent / "docs"
ALL_SECONDS, QUICK_ALL_SECONDS = 720.0, 140.0
QUICK_SECONDS = 1.5
MOST_PUBLISHES = 2_000_000
PRIME = "--subscribers 20 --publishers 1 --warmup 0 --seconds 0.3"


def run_once(program: Path, workload: Workload, contender: Contender, seconds: float) -> Result:
    """Start a contender on an empty directory, load it once, stop it."""
    server_core, generator_core = cores()
    os.sync()  # what others have left for the disk is not written beside the run
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as name:
        directory, port = Path(name), free_port()
        command = contender.command(port, directory)
        with running(command, port, server_core, directory, contender.environment) as pids:
            connection = [
                *("--port", str(port), "--watch", ",".join(map(str, pids))),
                *("--subscribe", contender.subscribe),
                *("--publish", workload.publish or contender.publish),
                *("--size", str(MESSAGE_BYTES), "--limit", str(MOST_PUBLISHES)),
            ]
            if workload.primed:
                prime = PRIME.split()
                generate(program, [*connection, *prime], core=generator_core)
            wanted = [*workload.arguments.split(), "--seconds", str(seconds)]
            started, others = time.monotonic(), core_seconds(server_core) - process_seconds(pids)
            try:
                result = generate(program, [*connection, *wanted], core=generator_core)
            except GeneratorFailed as error:
                raise GeneratorFailed(f"{error}; {last_words(directory)}") from error
            others = core_seconds(server_core) - process_seconds(pids) - others
            return {**result, "others": max(0.0, others / (time.monotonic() - started))}


def measure(
    program: Path, workload: Workload, repeats: Mapping[str, int], *, seconds: float | None
) -> list[Row]:
    """Each contender so many times, in turns, so that the machine's moods reach them alike."""
    results: dict[str, list[Result]] = {name: [] for name in repeats}
    failures: dict[str, str] = {}
    for name in results:
        if reason := CONTENDERS[name].missing():
            failures[name] = f"skipped: {reason}"
            print(f"  {name:16} skipped: {reason}", flush=True)
    duration = workload.seconds if seconds is None else min(seconds, 60.0)
    for turn in range(max(repeats.values())):
        for name in repeats:
            if name in failures or turn >= repeats[name]:
                continue
            try:
                result = run_once(program, workload, CONTENDERS[name], duration)
                figure = with_unit(workload.metric.of(result), workload.metric)
            except (GeneratorFailed, NotStarted, KeyError) as error:
                failures[name] = f"failed: {error}".replace("\n", " ")[:600]
                print(f"  {name:16} {failures[name]}", flush=True)
                continue
            results[name].append(result)
            print(f"  {name:16} {figure:>18}   {details(result)}", flush=True)
    return [
        median_row(workload, name, done)
        if done
        else Row(workload.name, name, None, failure=failures.get(name, ""))
        for name, done in results.items()
    ]


def chosen_contenders(workload: Workload, arguments: argparse.Namespace) -> list[str]:
    names: Sequence[str] = workload.contenders
    if arguments.peer:
        return [name for name in names if name in arguments.peer]
    if arguments.quick:
        compared = {target.peer for target in workload.targets}
        names = [name for name in names if name in compared or name in OURS]
    return list(names)


def chosen_workloads(arguments: argparse.Namespace) -> list[Workload]:
    if arguments.workload:
        return [WORKLOADS[name] for name in arguments.workload]
    return [workload for workload in WORKLOADS.values() if workload.targets or not arguments.quick]


def chosen_repeats(workload: Workload, name: str, arguments: argparse.Namespace) -> int:
    """A figure that a target depends on is the median of several."""
    if arguments.repeats is not None:
        return int(arguments.repeats)
    decides = workload.targets and (name in OURS or name in {t.peer for t in workload.targets})
    return workload.repeats if decides and arguments.all and not arguments.quick else 1


def measure_all(program: Path, arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    budget = QUICK_ALL_SECONDS if arguments.quick else ALL_SECONDS
    ends_at = time.monotonic() + budget
    for workload in chosen_workloads(arguments):
        names = chosen_contenders(workload, arguments)
        if not names:
            continue
        if time.monotonic() > ends_at:
            print(f"{workload.name}: skipped, the time is up", flush=True)
            continue
        print(f"{workload.name}: {workload.title} ({workload.metric.text})", flush=True)
        seconds = arguments.seconds
        if seconds is None and arguments.quick:
            seconds = min(QUICK_SECONDS, workload.seconds)
        repeats = {name: chosen_repeats(workload, name, arguments) for name in names}
        rows += measure(program, workload, repeats, seconds=seconds)
    return rows


def write_docs(rows: Sequence[Row], tables: Tables, directory: Path) -> None:
    names = dict.fromkeys(row.contender for row in rows if row.result is not None)
    occasion = Occasion(
        machine=machine.description(),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        command=shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
        compiler=first_line(compiler() or "cc", "--version"),
        versions={name: CONTENDERS[name].version() for name in names},
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "benchmarks.md").write_text(page(rows, tables, occasion))
    caption = f"{occasion.date} · {occasion.machine}"
    (directory / "benchmarks.svg").write_text(svg(rows, caption))
    print(f"wrote {directory / 'benchmarks.md'} and benchmarks.svg")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every workload, and the page")
    parser.add_argument("--quick", action="store_true", help="targets only, once, in short")
    parser.add_argument("--workload", action="append", choices=sorted(WORKLOADS))
    parser.add_argument("--peer", action="append", choices=sorted(CONTENDERS))
    parser.add_argument("--seconds", type=float, help="the measured time of each run, at most 60")
    parser.add_argument(
        "--repeats",
        type=int,
        help=f"runs of each; with --all {REPEATS} or more where a target asks",
    )
    parser.add_argument("--docs", type=Path, help="where --all writes the page")
    parser.add_argument("--list", action="store_true", help="name workloads and contenders")
    parsed = parser.parse_args(arguments)
    if not (parsed.all or parsed.workload or parsed.peer or parsed.list):
        parser.error("say --all, or which --workload and --peer")
    return parsed


def show_list() -> None:
    for workload in WORKLOADS.values():
        print(f"{workload.name:20} {workload.title}\n{'':20} {', '.join(workload.contenders)}")


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when this server failed or missed a target, so that a script can tell."""
    parsed = parse(arguments)
    if parsed.list:
        show_list()
        return 0
    started = time.monotonic()
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as name:
        try:
            program = build(Path(name))
        except GeneratorFailed as error:
            print(error, file=sys.stderr)
            return 1
        rows = measure_all(program, parsed)
    judged = verdicts(rows)
    if judged:
        print(f"\n{target_table(judged)}")
    failed = any(row.failure and row.contender in OURS for row in rows)
    missed = any(verdict.outcome == "MISSED" for verdict in judged)
    docs = parsed.docs or (DOCS if parsed.all and not parsed.quick else None)
    if docs is not None:
        # here, because they need what the server or the tests need, and a piece of the rest not
        import chat
        import flood
        import monitoring
        import nodes
        import page_costs
        import replay

        replays, are_fast = replay.measure()
        print(replays)
        routes, are_met = monitoring.measure(monitoring.LARGE, requests=100)
        print(routes)
        costs, are_cheap = page_costs.measure()
        print(costs)
        talk = chat.measure()
        print(talk)
        strangers = flood.table(flood.measure())
        print(strangers)
        several = nodes.measure()
        print(several)
        missed = missed or not (are_fast and are_met and are_cheap)
        write_docs(rows, Tables(replays, routes, costs, talk, strangers, several), docs)
    print(f"{amount(time.monotonic() - started)} s")
    return 1 if failed or missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, subprocess.SubprocessError) as error:
        sys.exit(f"benchmarks: {error or 'interrupted'}")
