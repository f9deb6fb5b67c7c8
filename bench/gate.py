"""The gate of `make bench-check`: ratios of a run beside the last that are kept in bench/history/, with their spread.

    python -m bench.gate [FILE]             compares FILE (bench/out.json), exit code 1 where a ratio is worse
    python -m bench.gate [FILE] --keep NAME keeps FILE's ratios as bench/history/NAME.json

Ratios alone are compared: both sides of one are measured in the same run, so that the machine's speed does not count.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from bench.figure import Figure

HISTORY = Path(__file__).with_name("history")
OUT = Path(__file__).with_name("out.json")
LEAST_SPREAD = 0.05  # of a value: runs in a row can lie closer together than two days do

Better = Literal["higher", "lower"]
RATIOS: Mapping[str, Better] = {
    "throughput_ratio": "higher", "cpu_ratio": "lower", "local_throughput_ratio": "higher", "local_cpu_ratio": "lower",
    "create_ratio": "higher", "verified_ratio": "higher", "history_ratio": "lower", "webhook_ratio": "lower",
    "cold_start_ratio": "lower",
}  # fmt: skip


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Ratios of one run, as they are kept.

    Args:
        measured_on: the day, as in 2026-11-27.
        machine: what it ran on, and how busy that was.
    """

    name: str
    measured_on: str
    machine: str
    figures: dict[str, Figure]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio beside the one that is kept. `worse`: by more than the kept one's spread, or not measured at all."""

    name: str
    now: Figure | None
    kept: Figure | None
    worse: bool
    said: str


def read_history(directory: Path = HISTORY) -> list[Kept]:
    """Return what is kept, oldest first."""
    found = [msgspec.json.decode(path.read_bytes(), type=Kept) for path in directory.glob("*.json")]
    return sorted(found, key=lambda one: (one.measured_on, one.name))


def read_figures(path: Path) -> dict[str, Figure]:
    """Return the figures that `python -m bench` has written."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Figure])


def compare(now: Mapping[str, Figure], history: Sequence[Kept]) -> list[Compared]:
    """Compare each known ratio with the last one that is kept of it."""
    found = []
    for name, better in RATIOS.items():
        kept = next((one.figures[name] for one in reversed(history) if name in one.figures), None)
        if name in now or kept is not None:
            found.append(_compared(name, better, now.get(name), kept))
    return found


def _compared(name: str, better: Better, now: Figure | None, kept: Figure | None) -> Compared:
    if now is None:
        return Compared(name=name, now=now, kept=kept, worse=True, said="not measured")
    if kept is None:
        return Compared(name=name, now=now, kept=kept, worse=False, said="new")
    gain = now.value - kept.value if better == "higher" else kept.value - now.value
    if abs(gain) <= allowance(kept):
        return Compared(name=name, now=now, kept=kept, worse=False, said="as before")
    return Compared(name=name, now=now, kept=kept, worse=gain < 0, said="better" if gain > 0 else "WORSE")


def allowance(kept: Figure) -> float:
    """Return by how much a ratio may differ: its spread, from the lowest to the highest run."""
    return max(kept.spread[1] - kept.spread[0], LEAST_SPREAD * abs(kept.value))


def table(compared: Sequence[Compared]) -> str:
    lines = [f"{'ratio':<26}{'now':>8}{'kept':>8}{'spread':>8}  "]
    for one in compared:
        now = f"{one.now.value:.3g}" if one.now is not None else "-"
        kept = f"{one.kept.value:.3g}" if one.kept is not None else "-"
        spread = f"{allowance(one.kept):.2g}" if one.kept is not None else "-"
        lines.append(f"{one.name:<26}{now:>8}{kept:>8}{spread:>8}  {one.said}")
    return "\n".join(lines) + "\n"


def keep(now: Mapping[str, Figure], name: str, directory: Path = HISTORY) -> Path:
    """Write a run's ratios beside the others. Raises FileExistsError: what is kept does not change."""
    ratios = {one: now[one] for one in RATIOS if one in now}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    kept = Kept(name=name, measured_on=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine, figures=ratios)
    path = directory / f"{name}.json"
    with path.open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    return path


def main(arguments: Sequence[str]) -> int:
    name = None
    if "--keep" in arguments:
        at = arguments.index("--keep")
        name = arguments[at + 1]
        arguments = [*arguments[:at], *arguments[at + 2 :]]
    now = read_figures(Path(arguments[0]) if arguments else OUT)
    if name is not None:
        print(f"kept as {keep(now, name)}; `make docs` draws it")
        return 0
    compared = compare(now, read_history())
    print(table(compared), end="")
    worse = [one.name for one in compared if one.worse]
    if worse:
        print(f"worse than what is kept by more than its spread, or not measured: {', '.join(worse)}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
