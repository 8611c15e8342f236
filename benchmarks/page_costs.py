"""What the pages cost: frames a second in a real browser, and the server's CPU with one open.

The server is under a steady load and counts what of its CPU goes to the page (see `metered.py`);
each page is opened and closed in turns, so that its whole CPU with and without one is seen, too:
python benchmarks/page_costs.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from contenders import CONTENDERS
from generator import GeneratorFailed, build
from metered import spent
from process import cores, free_port, pinned, process_seconds, running
from report import amount, markdown_table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "web"))

PAGES = ("control-panel", "network-graph", "circular-graph", "activity-map")
TOPICS, CLIENTS, PRODUCERS = 200, 500, 10
BATCHES_PER_SECOND, BATCH = 200, 25
LEAST_FRAMES, MOST_CPU = 30.0, 2.0
TURNS, SECONDS = 7, 2.5
SETTLE_SECONDS = 2.0
WINDOW = (1280, 860)
COUNT_FRAMES = """
globalThis.frames = { count: 0, since: performance.now() };
requestAnimationFrame(function tick() {
  globalThis.frames.count += 1;
  requestAnimationFrame(tick);
});
"""
METERED = Path(__file__).resolve().with_name("metered.py")
CONNECTED = "document.querySelector('#connection').dataset.state === 'connected'"
FRAMES = "1000 * globalThis.frames.count / (performance.now() - globalThis.frames.since)"


class Use(NamedTuple):
    """What the server did in a while: percent of a core, what of it was for pages, messages/s."""

    percent: float
    pages: float
    messages: float

    @property
    def load(self) -> float:
        """Percent of a core that 5,000 messages a second take, without pages."""
        return (self.percent - self.pages) * BATCHES_PER_SECOND * BATCH / self.messages


@dataclass(frozen=True)
class Cost:
    """One page's turns: frames a second, what the server did with and without the page, and the
    milliseconds of its CPU that opening the page took."""

    page: str
    frames: Sequence[float]
    opened: Sequence[Use]
    closed: Sequence[Use]
    opening: Sequence[float]

    @property
    def shares(self) -> Sequence[float]:
        """Percent of the server's CPU that went to the page, in each turn.

        Reckoned for the whole load: a busy machine gets less of it, and a page costs the same.
        """
        load = median(use.load for use in (*self.closed, *self.opened))
        return [100 * use.pages / (use.pages + load) for use in self.opened]

    @property
    def is_met(self) -> bool:
        return median(self.frames) >= LEAST_FRAMES and median(self.shares) < MOST_CPU

    def row(self) -> tuple[str, ...]:
        return (
            f"`/{self.page}.html`",
            spread(self.frames),
            spread([use.messages for use in (*self.closed, *self.opened)]),
            spread([use.percent for use in self.closed]),
            spread([use.percent for use in self.opened]),
            spread([use.pages for use in self.opened]),
            spread(self.shares),
            spread(self.opening),
            "met" if self.is_met else "MISSED",
        )


def spread(values: Sequence[float]) -> str:
    """The median, and between what it lies."""
    return f"**{amount(median(values))}** ({amount(min(values))} to {amount(max(values))})"


@contextmanager
def load(program: Path, port: int, core: int, seconds: float) -> Iterator[None]:
    """Publish on every topic at a steady rate, to clients that are subscribed to one each."""
    command = [
        *(str(program), "--port", str(port), "--subscribe", "socketio", "--publish", "http"),
        *("--subscribers", str(CLIENTS), "--topics", str(TOPICS), "--publishers", str(PRODUCERS)),
        *("--rate", str(BATCHES_PER_SECOND), "--batch", str(BATCH), "--size", "100"),
        *("--seconds", str(seconds), "--limit", "100000000"),
    ]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(pinned(command, core), stdout=said, stderr=said)
        try:
            yield
            if process.poll() is not None:
                said.seek(0)
                raise GeneratorFailed(said.read().decode(errors="replace").strip())
        finally:
            process.kill()
            process.wait()


def used(pids: Sequence[int], meter: Path, port: int, seconds: float) -> Use:
    """What the server does in the next seconds."""
    stored, pages = stored_messages(port), spent(meter)
    began, before = time.monotonic(), process_seconds(pids)
    time.sleep(seconds)
    cpu, passed = process_seconds(pids) - before, time.monotonic() - began
    pages = spent(meter) - pages
    messages = stored_messages(port) - stored
    return Use(100 * cpu / passed, 100 * pages / passed, messages / passed)


def metered(command: Sequence[str], meter: Path) -> list[str]:
    """The command of a server, to be run so that it counts what goes to pages."""
    python, _, _, *arguments = command
    return [python, str(METERED), str(meter), *arguments]


def stored_messages(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/topics", timeout=30) as response:
        return sum(topic["sequence"] for topic in json.load(response))


def measure_page(program: Path, executable: str, name: str, turns: int, seconds: float) -> Cost:
    # Here, because it needs what the tests need, and the other benchmarks do not.
    from browser import Browser

    contender, (server_core, other_core) = CONTENDERS["pubsub-normal"], cores()
    frames, opened, closed, opening = [], [], [], []
    longest = 30 + turns * 2 * (seconds + 2 * SETTLE_SECONDS)
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as directory_name:
        directory, port = Path(directory_name), free_port()
        meter = directory / "pages"
        command = metered(contender.command(port, directory), meter)
        with (
            running(command, port, server_core, directory, contender.environment) as pids,
            load(program, port, other_core, longest),
            Browser(executable, core=other_core) as browser,
        ):
            page = browser.page()
            page.resize(*WINDOW)
            time.sleep(3 * SETTLE_SECONDS)
            for _ in range(turns):
                closed.append(used(pids, meter, port, seconds))
                before = spent(meter)
                page.go(f"http://127.0.0.1:{port}/{name}.html")
                page.wait_for(CONNECTED)
                opening.append(1_000 * (spent(meter) - before))
                time.sleep(SETTLE_SECONDS)
                page.evaluate(COUNT_FRAMES)
                opened.append(used(pids, meter, port, seconds))
                frames.append(page.evaluate(FRAMES))
                page.go("data:text/html,closed")
                time.sleep(SETTLE_SECONDS / 2)
    return Cost(name, frames, opened, closed, opening)


def table(costs: Sequence[Cost]) -> str:
    head = (
        *("page", "frames/s", "messages/s", "server without it", "with it"),
        *("for the page", "of the server's CPU", "opening, ms", ""),
    )
    return markdown_table(head, [cost.row() for cost in costs])


def measure(
    pages: Sequence[str] = PAGES, turns: int = TURNS, seconds: float = SECONDS
) -> tuple[str, bool]:
    """A table of all pages, and whether each is fluent and cheap; without a browser a reason."""
    try:
        from browser import find_chromium
    except ImportError as error:
        return f"Skipped: {error}.", True
    executable = find_chromium()
    if executable is None:
        return "Skipped: Chromium is not installed.", True
    costs = []
    with tempfile.TemporaryDirectory(prefix="pubsub-bench-") as directory:
        program = build(Path(directory))
        for name in pages:
            costs.append(measure_page(program, executable, name, turns, seconds))
            print("  ".join(costs[-1].row()), flush=True)
    return table(costs), all(cost.is_met for cost in costs)


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when a page is not fluent or not cheap."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pages", nargs="*", default=PAGES, help="which; all if none is named")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parsed = parser.parse_args(arguments)
    text, is_met = measure(parsed.pages, parsed.turns, parsed.seconds)
    print(text)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
