"""Charts as SVG, drawn here: bars of what ended, and a line of a mean. A table beside them says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

from keruta.domain.overview import Span

WIDTH, HEIGHT, LEFT, BELOW = 480, 130, 34, 18
_ROOM = HEIGHT - BELOW - 8


def bars(spans: Sequence[Span], label: str) -> Markup:
    """Draw the number of succeeded (below) and failed (above) tasks of each time span."""
    most = max([1, *(span.succeeded + span.failed for span in spans)])
    parts, step = [_frame(most, str), _names(spans)], (WIDTH - LEFT) / len(spans)
    for at, span in enumerate(spans):
        x, y = LEFT + at * step + 1, float(HEIGHT - BELOW)
        for count, kind in ((span.succeeded, "good"), (span.failed, "bad")):
            high = _ROOM * count / most
            y -= high
            if count:
                parts.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"></rect>').format(
                        kind, x, y, max(step - 2, 1), max(high, 1)
                    )
                )
    return _svg(parts, label)


def line(spans: Sequence[Span], label: str, *, of: Literal["waited", "ran"] = "waited") -> Markup:
    """Draw how long tasks waited or ran, for each time span in which one that had started ended."""
    means = [span.waited_seconds if of == "waited" else span.ran_seconds for span in spans]
    known = [(at, seconds) for at, seconds in enumerate(means) if seconds is not None]
    most = max([1.0, *(seconds for _, seconds in known)])
    step = (WIDTH - LEFT) / len(spans)
    points = [(LEFT + (at + 0.5) * step, HEIGHT - BELOW - _ROOM * seconds / most) for at, seconds in known]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [Markup('<circle class="busy" cx="{:.1f}" cy="{:.1f}" r="3"></circle>').format(x, y) for x, y in points]
    drawn = [Markup('<polyline class="line" points="{}"></polyline>').format(path), *dots]
    return _svg([_frame(most, lambda value: f"{value:.3g} s"), _names(spans), *drawn], label)


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    whole = Markup("").join(parts)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(WIDTH, HEIGHT, label, whole)


def _frame(most: float, said: object) -> Markup:
    assert callable(said)
    base, top = HEIGHT - BELOW, HEIGHT - BELOW - _ROOM
    return Markup(
        '<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"></line>'
        '<line class="axis" x1="{0}" y1="{3}" x2="{2}" y2="{3}"></line>'
        '<text x="{4}" y="{5}" text-anchor="end">{6}</text><text x="{4}" y="{7}" text-anchor="end">0</text>'
    ).format(LEFT, base, WIDTH, top, LEFT - 4, top + 4, said(most), base + 4)


def _names(spans: Sequence[Span]) -> Markup:
    """Below some of them, when they begin, in the zone of the spans."""
    step, every = (WIDTH - LEFT) / len(spans), max(len(spans) // 6, 1)
    daily = len(spans) > 1 and (spans[1].begun - spans[0].begun).days >= 1
    return Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            LEFT + (at + 0.5) * step, HEIGHT - 4, spans[at].begun.strftime("%m-%d" if daily else "%H")
        )
        for at in range(0, len(spans), every)
    )
