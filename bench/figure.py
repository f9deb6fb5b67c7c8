"""A figure: the median of some runs, and how far they lie apart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value."""

    value: float
    spread: tuple[float, float]
    unit: str
    runs: int

    def plain(self) -> dict[str, object]:
        return {"value": self.value, "spread": list(self.spread), "unit": self.unit, "runs": self.runs}


def median(values: Sequence[float], unit: str) -> Figure:
    return Figure(value=statistics.median(values), spread=(min(values), max(values)), unit=unit, runs=len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def report(figures: Mapping[str, Figure], reach: Mapping[str, str], out: Path) -> None:
    """The figures are printed as a table, each beside what is asked of it, and written as JSON."""
    print(f"\n{'figure':<26}{'value':>12}  {'spread':<22}{'runs':>5}  reach")
    for name, figure in figures.items():
        low, high = figure.spread
        spread, asked = f"{low:.4g} to {high:.4g}", reach.get(name, "")
        print(f"{name:<26}{figure.value:>12.4g}  {spread:<22}{figure.runs:>5}  {asked}  {figure.unit}")
    out.write_text(json.dumps({name: figure.plain() for name, figure in figures.items()}, indent=2) + "\n")
