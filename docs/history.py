"""The page of kept benchmark ratios, and its picture, made from bench/history/."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figure import Figure
from bench.gate import RATIOS, Kept, read_history

WIDTH, ROW, LEFT, RIGHT, TOP = 720, 64, 190, 90, 16
INK, LINE, BAR = "#808080", "#3f51b5", "#9fa8da"  # readable on light and on dark


def page() -> str:
    """The table of all ratios that are kept."""
    history = read_history()
    lines = [
        "# Ratios of releases",
        "",
        "What `make bench` measured beside a bare loop in the same run: median, and lowest to highest run. Made from",
        "`bench/history/` by `make docs`; how a run is kept, and what `make bench-check` compares, is in",
        "[Performance](../performance.md#the-gate).",
        "",
        "![Each ratio over time, with its spread](performance-history.svg)",
        "",
        f"| Ratio | Better | {' | '.join(one.name for one in history)} |",
        f"|---|---|{'---|' * len(history)}",
    ]
    for name, better in RATIOS.items():
        cells = [_cell(one.figures.get(name)) for one in history]
        if any(cells):
            lines.append(f"| `{name}` | {better} | {' | '.join(cells)} |")
    lines += ["", "| Run | Day | Machine |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.measured_on} | {one.machine} |" for one in history]
    return "\n".join(lines) + "\n"


def picture() -> str:
    """One row for each ratio: a line through the medians, and a bar from the lowest to the highest run."""
    return draw(read_history())


def draw(history: Sequence[Kept]) -> str:
    names = [name for name in RATIOS if any(name in one.figures for one in history)]
    height = TOP * 2 + ROW * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" role="img">',
        "<title>Benchmark ratios over time</title>",
    ]
    for number, name in enumerate(names):
        parts += _row(name, [one.figures.get(name) for one in history], TOP + ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(name: str, figures: Sequence[Figure | None], top: int) -> list[str]:
    known = [(number, one) for number, one in enumerate(figures) if one is not None]
    most = max(one.spread[1] for _, one in known) * 1.1 or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(len(figures) - 1, 1)

    def at(number: int, value: float) -> tuple[float, float]:
        return LEFT + step * number, top + (ROW - 12) * (1 - value / most) + 4

    last = known[-1][1]
    bottom = top + ROW - 8
    parts = [
        f'<text x="0" y="{top + ROW / 2:.1f}" fill="{INK}">{escape(name)}'
        f'<tspan x="0" dy="15" font-size="10">{RATIOS[name]} is better</tspan></text>',
        f'<line x1="{LEFT - 8}" y1="{bottom}" x2="{WIDTH - RIGHT + 8}" y2="{bottom}" stroke="{INK}" '
        'stroke-width="0.5"/>',
    ]
    for number, one in known:
        (x, low), (_, high) = at(number, one.spread[0]), at(number, one.spread[1])
        parts.append(
            f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{BAR}" stroke-width="5"/>'
        )
    points = " ".join("{:.1f},{:.1f}".format(*at(number, one.value)) for number, one in known)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    for number, one in known:
        x, y = at(number, one.value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{LINE}"/>')
    x, y = at(known[-1][0], last.value)
    parts.append(f'<text x="{x + 12:.1f}" y="{y + 4:.1f}" fill="{INK}">{last.value:.3g}</text>')
    return parts


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    low, high = figure.spread
    return f"{figure.value:.2f} ({low:.2f} to {high:.2f})"
