"""Figures as text: the rows of every workload, the ratios, and whether the targets are met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contenders import CONTENDERS
from generator import Result
from workloads import WORKLOADS, Metric, Target, Workload

OURS = ("pubsub", "pubsub-normal", "pubsub-trimming")
# What others may take of the server's core before a row says that its figures are doubtful.
DISTURBED = 0.05


@dataclass(frozen=True)
class Row:
    """One contender on one workload: the median run of several, or why there is none.

    `figures` has every run's, in the order in which they were taken.
    """

    workload: str
    contender: str
    result: Result | None
    figures: tuple[float, ...] = ()
    failure: str = ""

    @property
    def figure(self) -> float | None:
        metric = WORKLOADS[self.workload].metric
        return None if self.result is None else metric.of(self.result)

    @property
    def is_disturbed(self) -> bool:
        return self.result is not None and is_disturbed(self.result)


@dataclass(frozen=True)
class Verdict:
    """A target against what was measured; `ratio` is a plain figure where there is no peer."""

    workload: Workload
    target: Target
    ratio: float | None
    is_disturbed: bool = False

    @property
    def outcome(self) -> str:
        if self.ratio is None:
            return "not measured"
        lower = self.workload.metric.lower
        for name, bound in (("aim reached", self.target.aim), ("met", self.target.required)):
            if self.ratio <= bound if lower else self.ratio >= bound:
                return name
        return "MISSED"


def is_disturbed(result: Result) -> bool:
    return float(result["others"]) > DISTURBED


def median_row(workload: Workload, contender: str, results: Sequence[Result]) -> Row:
    """The run whose figure is the median (the lower one of two) of those that nothing disturbed."""
    calm = [result for result in results if not is_disturbed(result)]
    ordered = sorted(calm or results, key=workload.metric.of)
    middle = ordered[(len(ordered) - 1) // 2]
    figures = tuple(workload.metric.of(result) for result in results)
    return Row(workload.name, contender, middle, figures)


def verdicts(rows: Iterable[Row]) -> list[Verdict]:
    """Every target of the workloads that were run."""
    found = {(row.workload, row.contender): row for row in rows}
    measured = {name for name, _ in found}
    return [
        judged(workload, target, found)
        for workload in WORKLOADS.values()
        for target in workload.targets
        if workload.name in measured
    ]


def judged(workload: Workload, target: Target, found: Mapping[tuple[str, str], Row]) -> Verdict:
    ours = found.get((workload.name, "pubsub"))
    theirs = found.get((workload.name, target.peer or "pubsub"))
    if ours is None or theirs is None or ours.figure is None or not theirs.figure:
        return Verdict(workload, target, None)
    base = 1.0 if target.peer is None else theirs.figure
    return Verdict(workload, target, ours.figure / base, ours.is_disturbed or theirs.is_disturbed)


def amount(value: float) -> str:
    """Three significant digits, and no exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    for digits, above in ((0, 100), (1, 10), (2, 1)):
        if value >= above:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def with_unit(value: float, metric: Metric) -> str:
    separator = "" if metric.unit.startswith("/") else " "
    return f"{amount(value)}{separator}{metric.unit}"


def bound(target: Target, value: float, metric: Metric) -> str:
    sign = "≤" if metric.lower else "≥"
    return f"{sign} {with_unit(value, metric) if target.peer is None else f'{value:g}x'}"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def target_table(verdicts: Iterable[Verdict]) -> str:
    lines = []
    for verdict in verdicts:
        target, metric = verdict.target, verdict.workload.metric
        ratio = "-"
        if verdict.ratio is not None:
            plain = target.peer is None
            ratio = with_unit(verdict.ratio, metric) if plain else f"{amount(verdict.ratio)}x"
        lines.append(
            (
                f"{verdict.workload.title}: {metric.text}",
                "-" if target.peer is None else CONTENDERS[target.peer].title,
                bound(target, target.required, metric),
                bound(target, target.aim, metric),
                ratio,
                verdict.outcome + (" (disturbed)" if verdict.is_disturbed else ""),
            )
        )
    return markdown_table(("what", "against", "target", "aim", "measured", ""), lines)


def details(result: Result) -> str:
    """What else a run says, where it says it."""
    parts = []
    elapsed = result["elapsed_seconds"] or 1.0
    for count in ("published", "delivered", "consumed"):
        if result[count]:
            parts.append(f"{amount(result[count] / elapsed)} {count}/s")
    if result["published"]:
        microseconds = result["cpu_seconds"] / result["published"] * 1e6
        parts.append(f"{amount(microseconds)} µs CPU a publish")
    for name, text in (("delivery_latency", "delivered"), ("answer_latency", "answered")):
        latency = result[name]
        if latency["count"]:
            p50, p99 = (amount(latency[key] / 1e3) for key in ("p50_us", "p99_us"))
            parts.append(f"{text} p50 {p50}, p99 {p99} ms")
    if result["storm_seconds"]:
        parts.append(f"{amount(result['storm_cpu_seconds'])} s CPU for all storms")
    if not result["complete"]:
        parts.append(f"NOT all delivered: {result['missing']:,} missing after 5 s")
    if is_disturbed(result):
        parts.append(f"DISTURBED: others took {result['others']:.0%} of the server's core")
    if result["closed_by_server"]:
        parts.append(f"{result['closed_by_server']} connections closed by the server")
    return "; ".join(parts)


def busy(result: Result, name: str) -> str:
    elapsed = result["elapsed_seconds"]
    return f"{result[name] / elapsed:.0%}" if elapsed > 0.5 else "-"


def workload_table(workload: Workload, rows: Sequence[Row]) -> str:
    """One workload's contenders, with the ratio of our figure to theirs."""
    head = (
        "",
        "stores",
        workload.metric.text,
        "ours/theirs",
        "runs",
        "server",
        "others",
        "generator",
        "",
    )
    ours = next((row.figure for row in rows if row.contender in OURS and row.figure), None)
    lines = []
    for row in rows:
        contender = CONTENDERS[row.contender]
        if row.result is None or row.figure is None:
            lines.append((contender.title, contender.stores, "-", *[""] * 5, row.failure))
            continue
        compared = row.contender not in OURS and ours and row.figure
        lines.append(
            (
                contender.title,
                contender.stores,
                f"**{with_unit(row.figure, workload.metric)}**",
                f"{amount(ours / row.figure)}x" if compared and ours else "",
                " · ".join(map(amount, sorted(row.figures))),
                busy(row.result, "cpu_seconds"),
                f"{row.result['others']:.0%}",
                busy(row.result, "generator_cpu_seconds"),
                details(row.result),
            )
        )
    return markdown_table(head, lines)
