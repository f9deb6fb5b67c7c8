"""A figure: the median of some runs, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
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
