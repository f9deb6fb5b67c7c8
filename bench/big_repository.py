"""Time from a submit to a script's first line in a repository of 20,000 files and 200 MB, beside a shallow clone of it.

`python -m bench.big_repository`. Cold is with an empty clone cache, warm with a filled one; the clone is never warm.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench import running
from bench.figure import Figure, median, report
from bench.machine import Machine
from bench.paths import make_large

ROUNDS = 5
COLD_ROUNDS = 3
REACH = {"big_repository_ratio": "<= 0.45", "big_repository_cold_ratio": "<= 1.1"}


def main() -> int:
    shared = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="keruta-bench-") as directory,
        Machine(Path(directory)) as machine,
    ):
        make_large(machine.directory / "git" / "large.git")
        figures = measure(machine, machine.repository.replace("/a.git", "/large.git"))
    report(figures, REACH, Path(__file__).with_name("out-big-repository.json"))
    return 0


def measure(machine: Machine, repository: str) -> dict[str, Figure]:
    """The figures; the clone and keruta take turns."""
    running.warm(machine, machine.repository)
    cold, warm = [], []
    for _ in range(COLD_ROUNDS):
        shutil.rmtree(machine.directory / "worker" / "cache", ignore_errors=True)
        bare = running.first_line_bare(machine, repository)
        cold.append(running.first_line(machine, repository) / bare)
    for _ in range(ROUNDS):
        bare = running.first_line_bare(machine, repository)
        own = running.first_line(machine, repository)
        print(f"  first line: clone {bare:.0f} ms, keruta {own:.0f} ms")
        warm.append(own / bare)
    return {
        "big_repository_ratio": median(warm, "keruta's time to the first line / the clone's; warm"),
        "big_repository_cold_ratio": median(cold, "the same, with an empty clone cache"),
    }


if __name__ == "__main__":
    sys.exit(main())
