"""The figures as one SVG: a block of bars a workload, ours in colour."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from contenders import CONTENDERS
from report import OURS, Row, with_unit
from workloads import WORKLOADS

WIDTH, NAME_WIDTH, FIGURE_WIDTH = 880, 270, 130
BAR, GAP, BLOCK_GAP, MARGIN = 16, 7, 30, 22
INK, SOFT, OUR_COLOUR, THEIR_COLOUR = "#1f2328", "#59636e", "#0969da", "#b6bec7"


def text(x: float, y: float, content: str, *, extra: str = "", colour: str = INK) -> str:
    return f'<text x="{x:.0f}" y="{y:.1f}" fill="{colour}" {extra}>{escape(content)}</text>'


def bar(y: float, row: Row, figure: float, longest: float) -> list[str]:
    contender, metric = CONTENDERS[row.contender], WORKLOADS[row.workload].metric
    width = max(1.0, figure / longest * (WIDTH - NAME_WIDTH - FIGURE_WIDTH - MARGIN))
    ours = row.contender in OURS
    colour, weight = (OUR_COLOUR, 'font-weight="600"') if ours else (THEIR_COLOUR, "")
    base = y + BAR - 4
    return [
        text(NAME_WIDTH - 10, base, contender.title, extra=f'text-anchor="end" {weight}'),
        f'<rect x="{NAME_WIDTH}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2" '
        f'fill="{colour}"/>',
        text(NAME_WIDTH + width + 8, base, with_unit(figure, metric), extra=weight),
    ]


def svg(rows: Sequence[Row], caption: str) -> str:
    """Bars are to scale inside a block only: each block has its own unit."""
    parts: list[str] = []
    y = float(MARGIN)
    for workload in WORKLOADS.values():
        shown = [
            (row, row.figure)
            for row in rows
            if row.workload == workload.name and row.contender != "sink" and row.figure
        ]
        if not shown:
            continue
        better = "less is better" if workload.metric.lower else "more is better"
        y += BAR
        parts.append(text(MARGIN, y - 4, workload.title, extra='font-weight="600"'))
        y += BAR
        parts.append(text(MARGIN, y - 3, f"{workload.metric.text}, {better}", colour=SOFT))
        y += GAP
        longest = max(figure for _, figure in shown)
        for row, figure in shown:
            parts += bar(y, row, figure, longest)
            y += BAR + GAP
        y += BLOCK_GAP - GAP
    parts.append(text(MARGIN, y, caption, colour=SOFT, extra='font-size="11"'))
    height = y + MARGIN
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="Benchmark results" '
            'font-family="system-ui, sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        )
    )
