"""Measures every figure, prints a table, and writes bench/out.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench import creating, idling, logging_, running
from bench.figure import Figure
from bench.machine import Machine

REACH = {
    "throughput_ratio": ">= 0.8",
    "idle_overhead_ms": "<= 40",
    "cpu_ratio": "<= 2.0",
    "create_ratio": ">= 0.6",
    "history_ratio": "<= 1.2",
    "tail_delay_ms": "<= 300",
    "ingest_lines_per_second": ">= 20000",
    "idle_cpu_percent": "<= 3",
    "idle_memory_mib": "<= 600",
    "cold_start_ms": "<= 600",
}


def main(wanted: list[str]) -> int:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="keruta-bench-") as directory:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; tasks in {shared}")
        figures: dict[str, Figure] = {}
        with Machine(Path(directory)) as machine:
            print(f"settings: {machine.settings}")
            for part in (idling, running, logging_, creating):
                if not wanted or part.__name__.removeprefix("bench.") in wanted:
                    figures |= part.measure(machine)
    print(f"\n{'figure':<26}{'value':>12}  {'spread':<22}{'runs':>5}  reach")
    for name, figure in figures.items():
        low, high = figure.spread
        reach = REACH.get(name, "")
        print(
            f"{name:<26}{figure.value:>12.4g}  {f'{low:.4g} to {high:.4g}':<22}{figure.runs:>5}  {reach}  {figure.unit}"
        )
    out = Path(__file__).with_name("out.json")
    out.write_text(json.dumps({name: figure.plain() for name, figure in figures.items()}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
