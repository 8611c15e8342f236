"""The benchmarks: the generator counts right, and the page says what was measured."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import threading
import time
import urllib.request
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import socketio

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import chat  # noqa: E402
import flood  # noqa: E402
import frames  # noqa: E402
import nodes  # noqa: E402
import replay  # noqa: E402
import run  # noqa: E402
from contenders import CONTENDERS  # noqa: E402
from generator import GeneratorFailed, build, compiler, generate  # noqa: E402
from metered import spent  # noqa: E402
from page import Occasion, Tables, page  # noqa: E402
from page_costs import Cost, Use, metered, table  # noqa: E402
from plot import svg  # noqa: E402
from process import NotStarted, core_seconds, cores, free_port, running  # noqa: E402
from report import Row, amount, markdown_table, median_row, target_table, verdicts, workload_table  # noqa: E402
from workloads import WORKLOADS  # noqa: E402

needs_taskset = pytest.mark.skipif(
    shutil.which("taskset") is None, reason="taskset is not installed (Debian: util-linux)"
)
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("generator"))


def result(**known: Any) -> dict[str, Any]:
    latency = {"count": 0}
    return {
        **{"elapsed_seconds": 1.0, "cpu_seconds": 1.0, "generator_cpu_seconds": 0.5},
        **{"published": 0, "delivered": 0, "consumed": 0, "storm_seconds": []},
        **{"storm_cpu_seconds": 0.0, "delivery_latency": latency, "answer_latency": latency},
        **{"others": 0.0, "complete": True, "missing": 0, "closed_by_server": 0, "refused": 0},
        **known,
    }


def row(workload: str, contender: str, **known: Any) -> Row:
    return median_row(WORKLOADS[workload], contender, [result(**known)])


# ---- the generator ----


def load_sink(program: Path, directory: Path, arguments: str) -> dict[str, Any]:
    port = free_port()
    server_core, generator_core = cores()
    command = CONTENDERS["sink"].command(port, directory)
    with running(command, port, server_core, directory, {}) as pids:
        watched = ["--port", str(port), "--watch", ",".join(map(str, pids))]
        return generate(program, [*watched, *arguments.split()], core=generator_core, timeout=60)


@needs_compiler
def test_generator_counts_every_publish_up_to_its_limit(program: Path, tmp_path: Path) -> None:
    counted = load_sink(program, tmp_path, "--publishers 4 --limit 200 --warmup 0 --seconds 20")
    assert counted["published"] + 4 >= 200
    assert counted["answer_latency"]["count"] == counted["published"]
    assert counted["complete"]
    assert counted["memory_before_kb"] > 1000


@needs_compiler
def test_generator_receives_frames_and_orders_percentiles(program: Path, tmp_path: Path) -> None:
    counted = load_sink(
        program, tmp_path, "--subscribers 20 --publishers 1 --warmup 0 --seconds 0.2"
    )
    assert counted["delivered"] >= 20
    latency = counted["answer_latency"]
    ordered = [latency[f"{name}_us"] for name in ("p50", "p90", "p99", "p999", "max")]
    assert ordered == sorted(ordered)


@needs_compiler
def test_generator_says_what_is_wrong_with_its_options(program: Path) -> None:
    with pytest.raises(GeneratorFailed, match="an option is missing or out of range"):
        generate(program, ["--port", "0"], core=cores()[1])


@needs_taskset
def test_server_that_does_not_start_is_reported_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    with (
        pytest.raises(NotStarted, match="no such setting"),
        running(command, free_port(), cores()[0], tmp_path, {}),
    ):
        pytest.fail("it must not get here")


# ---- the tables ----


def test_workloads_name_only_contenders_that_exist_and_are_measured() -> None:
    for workload in WORKLOADS.values():
        assert set(workload.contenders) <= set(CONTENDERS), workload.name
        for target in workload.targets:
            assert target.peer is None or target.peer in workload.contenders
            better = target.aim < target.required
            assert better == workload.metric.lower, workload.name


@pytest.mark.parametrize(
    ("ours", "outcome"), [(25_000, "aim reached"), (12_000, "met"), (9_000, "MISSED")]
)
def test_target_is_judged_by_the_ratio_to_the_peer(ours: int, outcome: str) -> None:
    rows = [
        row("fanout-32", "pubsub", delivered=ours),
        row("fanout-32", "node-socketio", delivered=1_000),
    ]
    judged = {verdict.target.peer: verdict for verdict in verdicts(rows)}
    assert judged["node-socketio"].outcome == outcome
    assert judged["nchan"].outcome == "not measured"


@pytest.mark.parametrize(
    ("kilobytes", "outcome"), [(10, "aim reached"), (20, "met"), (26, "MISSED")]
)
def test_target_without_a_peer_is_judged_by_the_figure(kilobytes: int, outcome: str) -> None:
    grown = {"memory_before_kb": 1_000, "memory_after_kb": 1_000 + 5_000 * kilobytes}
    (verdict,) = verdicts([row("idle", "pubsub", **grown)])
    assert verdict.outcome == outcome


def test_median_run_stands_for_all_and_all_are_shown() -> None:
    workload = WORKLOADS["publish"]
    runs = [result(published=count) for count in (900, 100, 500)]
    measured = median_row(workload, "pubsub", runs)
    assert measured.figure == 500
    assert "100 · 500 · 900" in workload_table(workload, [measured])


def test_disturbed_runs_do_not_count_where_there_are_calm_ones() -> None:
    runs = [
        result(published=count, others=busy) for count, busy in ((90, 0.5), (100, 0.6), (500, 0))
    ]
    assert median_row(WORKLOADS["publish"], "pubsub", runs).figure == 500


def test_verdict_on_disturbed_runs_says_so() -> None:
    rows = [row("publish", "pubsub", published=9_000, others=0.4)]
    rows.append(row("publish", "express-full", published=3_000))
    assert "met (disturbed)" in target_table(verdicts(rows))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0512, "0.051"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567")],
)
def test_amounts_keep_three_digits(value: float, text: str) -> None:
    assert amount(value) == text


def test_table_has_one_line_a_row() -> None:
    assert markdown_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_deliveries_that_never_came_are_said() -> None:
    lossy = row("fanout-32", "nchan", delivered=10, complete=False, missing=7)
    assert "NOT all delivered: 7 missing" in workload_table(WORKLOADS["fanout-32"], [lossy])


def test_run_beside_other_work_is_said() -> None:
    disturbed = row("fanout-32", "nchan", delivered=10, others=0.31)
    assert "others took 31%" in workload_table(WORKLOADS["fanout-32"], [disturbed])


# ---- the page ----


def test_peer_that_is_not_installed_is_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = dataclasses.replace(CONTENDERS["nats"], missing=lambda: "nats-server is not here")
    monkeypatch.setitem(CONTENDERS, "nats", absent)
    (skipped,) = run.measure(tmp_path / "unused", WORKLOADS["topics"], {"nats": 1}, seconds=1)
    assert skipped.figure is None
    assert "skipped: nats-server is not here" in workload_table(WORKLOADS["topics"], [skipped])
    assert "skipped: nats-server is not here" in capsys.readouterr().out


def test_page_holds_where_when_how_and_every_figure() -> None:
    rows = [
        row("publish", "pubsub", published=9_000),
        row("publish", "express-full", published=3_000),
    ]
    occasion = Occasion("a machine", "2030-01-02", "make bench", "C", {"pubsub": "1.2.3"})
    tables = Tables(
        "| a replay |",
        "| /topics |",
        "| /network-graph.html |",
        "| a room |",
        "| strangers |",
        "| processes |",
    )
    text = page(rows, tables, occasion)
    for said in (
        "a machine",
        "2030-01-02",
        "`make bench`",
        "1.2.3",
        "9,000/s",
        "3.00x",
        "| met |",
        "/topics",
        "| a replay |",
        "| a room |",
        "| strangers |",
        "| processes |",
        "/network-graph.html",
    ):
        assert said in text


@needs_taskset
def test_replays_are_measured_to_the_last_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MESSAGES", 320)
    monkeypatch.setattr(replay, "MISSED", 10)
    table, _ = replay.measure(clients=5)
    assert "replay of 320 to one client" in table
    assert "5 clients reconnect with 10 missed each" in table
    assert "MB |" in table


@needs_taskset
def test_a_room_is_measured_until_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "QUIET_SECONDS", 0.2)
    table = chat.measure(20)
    titles = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]
    assert titles == [
        "before",
        "20 users join at once",
        "one of them says 500 messages",
        "the connections of all are lost",
        "all come again, each having missed 100",
    ]


def test_the_share_of_a_page_is_reckoned_for_the_whole_load() -> None:
    cost = Cost(
        "network-graph",
        frames=[60.0, 20.0, 55.0],
        opened=[Use(50.5, 0.5, 5_000), Use(26.0, 1.0, 2_500), Use(53.0, 3.0, 5_000)],
        closed=[Use(50.0, 0.0, 5_000), Use(25.0, 0.0, 2_500), Use(90.0, 0.0, 5_000)],
        opening=[40.0, 50.0, 60.0],
    )
    assert cost.shares == pytest.approx([100 * pages / (50 + pages) for pages in (0.5, 1.0, 3.0)])
    assert cost.is_met
    line = table([cost]).splitlines()[-1]
    for said in (
        "network-graph.html",
        "**55.0** (20.0 to 60.0)",
        "**1.00** (0.500 to 3.00)",
        "**1.96** (0.990 to 5.66)",
        "**50.0** (40.0 to 60.0)",
        "met",
    ):
        assert said in line
    assert not dataclasses.replace(cost, frames=[20.0, 20.0, 60.0]).is_met
    assert not dataclasses.replace(cost, opened=cost.opened[2:]).is_met


def test_a_metered_server_counts_what_it_does_for_browsers_only(tmp_path: Path) -> None:
    contender, port, meter = CONTENDERS["pubsub-normal"], free_port(), tmp_path / "pages"
    command = metered(contender.command(port, tmp_path), meter)
    url = f"http://127.0.0.1:{port}"

    def read_graph(agent: str) -> None:
        request = urllib.request.Request(f"{url}/graph/state", headers={"User-Agent": agent})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert json.load(response)["links"] == []

    with running(command, port, None, tmp_path, contender.environment):
        read_graph("curl/8")
        assert spent(meter) == 0
        read_graph("Mozilla/5.0")
        before = spent(meter)
        assert before > 0
        dashboard = socketio.Client(reconnection=False)
        told = threading.Event()
        dashboard.on("stats", lambda stats: told.set(), namespace="/monitoring")
        dashboard.connect(
            url,
            headers={"User-Agent": "Mozilla/5.0"},
            namespaces=["/monitoring"],
            transports=["websocket"],
        )
        dashboard.call("subscribe_to_updates", namespace="/monitoring")
        subscribed = spent(meter)
        assert subscribed > before
        assert told.wait(30)
        assert spent(meter) > subscribed
        dashboard.disconnect()


def test_plot_is_xml_with_a_bar_a_figure() -> None:
    rows = [
        row("publish", "pubsub", published=9_000),
        row("publish", "express-full", published=3_000),
    ]
    root = ElementTree.fromstring(svg(rows, "R & D"))
    bars = [float(bar.get("width", 0)) for bar in root.iterfind("{*}rect[@rx]")]
    assert len(bars) == 2
    assert bars[0] == pytest.approx(3 * bars[1], rel=0.01)
    assert any(label.text == "R & D" for label in root.iterfind("{*}text"))


# ---- frames ----


def test_what_is_compressed_by_itself_can_be_read_by_itself() -> None:
    for size in frames.SIZES:
        payload = frames.content(size)
        assert len(payload) == size
        machine = zlib.decompressobj(-15)
        assert machine.decompress(frames.deflated(payload, 1) + frames.FLUSH_END) == payload


def test_frames_and_events_are_measured() -> None:
    assert frames.compression(seconds=0.001).count("\n") == len(frames.SIZES) + 1
    assert frames.events(number=50).count("\n") == len(frames.EVENTS) + 2


# ---- a flood ----


@needs_taskset
def test_a_flood_of_strangers_costs_the_authenticated_no_message() -> None:
    reports = flood.measure(seconds=0.6, loris=200)
    assert len(reports) == len(flood.FLOODS) + 3
    for report in reports:
        assert report.missing == 0
        assert len(report.latencies) == 120 * flood.SUBSCRIBERS
    assert all(report.strangers > 0 for report in reports[1:-1])
    assert flood.table(reports).count("\n") == len(reports) + 1


@needs_taskset
def test_all_of_a_core_that_is_never_idle_is_used() -> None:
    core, _ = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        began, used = time.monotonic(), core_seconds(core)
        while time.monotonic() - began < 0.2:
            pass
        seconds, used = time.monotonic() - began, core_seconds(core) - used
    finally:
        os.sched_setaffinity(0, before)
    assert used == pytest.approx(seconds, abs=0.03)  # the kernel counts hundredths of a second


# ---- several processes ----


@needs_compiler
def test_generator_shares_its_connections_out_among_ports(program: Path, tmp_path: Path) -> None:
    core, other = cores()
    with ExitStack() as stack:
        ports = [free_port(), free_port()]
        for port in ports:
            directory = tmp_path / str(port)
            directory.mkdir()
            command = CONTENDERS["sink"].command(port, directory)
            stack.enter_context(running(command, port, core, directory, {}))
        # A sink feeds its own subscribers, once it is asked to publish.
        loads = [
            *("--publish-port", str(ports[1]), "--publishers", "1"),
            *("--warmup", "0", "--seconds", "0.2"),
        ]
        for subscribe_at, subscribers, is_fed in (
            (f"{ports[0]}", "1", False),
            (f"{ports[0]},{ports[1]}", "1", False),
            (f"{ports[0]},{ports[1]}", "2", True),
        ):
            at = ["--port", subscribe_at, "--subscribers", subscribers]
            counted = generate(program, [*at, *loads], core=other, timeout=60)
            assert counted["published"] > 0
            assert (counted["delivered"] > 0) is is_fed
    with pytest.raises(GeneratorFailed, match="port 99999"):
        generate(program, ["--port", "99999"], core=other)


@needs_compiler
def test_several_processes_are_measured_on_each_database(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert nodes.main(["--quick"]) == 0
    table = capsys.readouterr().out
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[4:]]
    assert [row[:2] for row in cells] == [
        *(["SQLite", "1"], ["SQLite", "2"]),
        *(["PostgreSQL", "1"], ["PostgreSQL", "2"]),
    ]
    for row in cells:
        figures = [float(row[place].strip("*").replace(",", "")) for place in (2, 4, 6, 7)]
        assert min(figures) > 0
        assert "missing" not in row[-1]
