"""Runs the parts of the test suite, side by side where they do not disturb each other, and holds each to its budget.

A part's budget is in seconds on two cores of the machine that the budgets were set on. How fast this machine is now is
measured around each part, by a fixed piece of work on both cores: a slower machine gets as much more time, so that a
part is over its budget only because it does more than it did. With `KERUTA_HOLD_BUDGETS=1` that is a failure.

With `KERUTA_SECOND_TRY=1`, a part (but `check`) in which at most three tests failed runs these a second time, alone.
The part has then passed if they pass, and the table names them, so that nobody overlooks a test that fails now and
then.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.failures import FAILED_TO

BUDGET_SECONDS = {
    "check": 120, "test-integration": 240, "test-e2e": 180, "test-faults": 300, "test-browser": 240,
    "test-cluster": 600, "test-identity": 180,
}  # fmt: skip

# One after the other; what stands in one row runs at the same time. Most parts use both cores by themselves.
# A part that waits for Pods or for Keycloak needs the machine to itself, or its tests come too late.
ROWS = (
    ("check",),
    ("test-integration",),
    ("test-e2e",),
    ("test-faults",),
    ("test-browser",),
    ("test-cluster",),
    ("test-identity",),
)

REFERENCE_SECONDS = 0.10  # what `work` takes on the machine that the budgets were set on
NOTICEABLE = 1.15  # so much over its time is no chance
SECOND_TRY_TESTS = 3  # more failures than these have a cause that a second try does not remove


@dataclass(frozen=True, kw_only=True)
class Took:
    """Time that a part took, and how many times slower this machine was meanwhile than the one of the budgets."""

    part: str
    seconds: float
    slowness: float
    status: int = 0
    unstable: tuple[str, ...] = ()  # tests that failed at first and passed at their second try

    @property
    def allowed_seconds(self) -> float:
        return BUDGET_SECONDS[self.part] * max(self.slowness, 1.0)

    @property
    def over(self) -> bool:
        return self.seconds > self.allowed_seconds * NOTICEABLE


def table(parts: Sequence[Took]) -> str:
    """Part, seconds, budget, and what the budget is on a machine as slow as this one."""
    lines = [f"{'part':<18}{'seconds':>9}{'budget':>9}{'here':>8}"]
    for one in parts:
        remark = "  FAILED" if one.status else "  OVER ITS BUDGET" if one.over else ""
        remark += f"  UNSTABLE TESTS: {len(one.unstable)}" if one.unstable else ""
        lines.append(
            f"{one.part:<18}{one.seconds:>9.0f}{BUDGET_SECONDS[one.part]:>9}{one.allowed_seconds:>8.0f}{remark}"
        )
    lines += [f"FAILED AT FIRST, PASSED AT THE SECOND TRY: {test}" for one in parts for test in one.unstable]
    return "\n".join(lines)


def verdict(parts: Sequence[Took], *, hold: bool) -> int:
    """The exit status: a part failed, or one is over its budget and budgets are held."""
    if any(one.status for one in parts):
        return 1
    return int(hold and any(one.over for one in parts))


def work(_: int = 0) -> float:
    """Seconds that a fixed piece of work takes, as part of a test run does: in Python, and in C."""
    began = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total = (total * 31 + number) % 1_000_003
    block = bytes(65536)
    for _round in range(300):
        block = hashlib.sha256(block).digest() * 2048
    return time.perf_counter() - began


def slowness() -> float:
    """How many times slower this machine is now than the one of the budgets; the middle of five looks."""
    with concurrent.futures.ProcessPoolExecutor(2) as both:
        return statistics.median(max(both.map(work, range(2))) for _ in range(5)) / REFERENCE_SECONDS


def run(row: Sequence[str]) -> list[Took]:
    """Runs one row; of parts that run at the same time, each one's output is shown when it has ended."""
    before, began = slowness(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keruta-parts-") as directory:
        running = {}
        for part in row:
            print(f"--- {part}", flush=True)
            output = open(f"{directory}/{part}", "wb") if len(row) > 1 else None  # noqa: SIM115  closed below
            environment = {**os.environ, FAILED_TO: f"{directory}/{part}.failed"}
            running[part] = (
                subprocess.Popen(
                    ["make", "--no-print-directory", part],
                    stdout=output,
                    stderr=output and subprocess.STDOUT,
                    env=environment,
                ),
                output,
            )
        ended: dict[str, tuple[float, int]] = {}
        unstable: dict[str, tuple[str, ...]] = {}
        while len(ended) < len(running):
            for part, (process, output) in running.items():
                if part in ended or process.poll() is None:
                    continue
                ended[part] = time.monotonic() - began, process.returncode
                if output is not None:
                    output.close()
                    print(f"--- {part}:", flush=True)
                    with open(f"{directory}/{part}", encoding="utf-8", errors="replace") as said:
                        sys.stdout.write(said.read())
                print(f"--- {part} took {ended[part][0]:.0f} s", flush=True)
            time.sleep(0.1)
        if os.environ.get("KERUTA_SECOND_TRY") == "1":
            for part, (took, code) in ended.items():
                if code and part != "check" and (tests := second_try(Path(directory, f"{part}.failed"))):
                    unstable[part], ended[part] = tests, (took, 0)
    mean = (before + slowness()) / 2
    return [
        Took(part=part, seconds=took, slowness=mean, status=code, unstable=unstable.get(part, ()))
        for part, (took, code) in ended.items()
    ]


def second_try(failed: Path) -> tuple[str, ...]:
    """Run the tests that the file names a second time; return them if all pass, else nothing."""
    tests = tuple(failed.read_text().splitlines()) if failed.exists() else ()
    if not 0 < len(tests) <= SECOND_TRY_TESTS:
        return ()
    print(f"--- a second try of {', '.join(tests)}", flush=True)
    passed = subprocess.run([sys.executable, "-m", "pytest", *tests]).returncode == 0
    return tests if passed else ()


def main() -> int:
    parts: list[Took] = []
    for row in ROWS:
        parts += run(row)
        if any(one.status for one in parts):
            break
    hold = os.environ.get("KERUTA_HOLD_BUDGETS") == "1"
    print(table(parts))
    late = [one.part for one in parts if one.over]
    if late:
        held = "this is a failure" if hold else "set KERUTA_HOLD_BUDGETS=1 to make this a failure"
        print(f"\nOVER ITS BUDGET: {', '.join(late)}; {held}.")
    return verdict(parts, hold=hold)


if __name__ == "__main__":
    sys.exit(main())
