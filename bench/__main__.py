"""Measures every figure, prints a table, and writes bench/out.json."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from bench import browsing, creating, idling, logging_, receiving, running
from bench.figure import Figure, report
from bench.machine import Machine

REACH = {
    "throughput_ratio": ">= 0.8",
    "idle_overhead_ms": "<= 40",
    "cpu_ratio": "<= 2.0",
    "local_throughput_ratio": ">= 0.4",
    "local_cpu_ratio": "<= 2.5",
    "local_idle_overhead_ms": "<= 60",
    "create_ratio": ">= 0.6",
    "verified_ratio": ">= 0.95",
    "verify_ms": "<= 0.3",
    "history_ratio": "<= 1.2",
    "webhook_ms": "<= 100",
    "webhook_ratio": "",
    "tail_delay_ms": "<= 300",
    "ingest_lines_per_second": ">= 20000",
    "idle_cpu_percent": "<= 3",
    "idle_memory_mib": "<= 300",
    "page_ms": "<= 50",
    "followers_delay_ms": "<= 300",
    "tail_kib": "",
    "first_page_kb": "<= 100",
    "first_page_ms": "<= 1000",
    "cold_start_ms": "<= 600",
    "cold_start_ratio": "",
}


def main(wanted: list[str]) -> int:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="keruta-bench-") as directory:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; tasks in {shared}")
        figures: dict[str, Figure] = {}
        with Machine(Path(directory)) as machine:
            print(f"settings: {machine.settings}")
            for part in (idling, running, logging_, creating, receiving, browsing):
                if not wanted or part.__name__.removeprefix("bench.") in wanted:
                    figures |= part.measure(machine)
    report(figures, REACH, Path(__file__).with_name("out.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
