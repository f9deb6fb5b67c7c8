"""Budgets of the parts of the test suite: a real slowdown is told, a slow machine is not blamed on a change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import BUDGET_SECONDS, ROWS, Took, second_try, table, verdict
from tests.support.failures import FAILED_TO


def test_every_part_has_a_budget_and_runs_once() -> None:
    assert sorted(part for row in ROWS for part in row) == sorted(BUDGET_SECONDS)


@pytest.mark.parametrize(
    ("seconds", "slowness", "over"),
    [(299, 1.0, False), (400, 1.0, True), (400, 0.5, True), (700, 2.5, False), (1000, 2.5, True)],
)
def test_a_part_is_over_its_budget_only_if_the_machine_is_not_the_cause(
    seconds: float, slowness: float, over: bool
) -> None:
    """A machine that is faster than the one of the budgets gets no less time."""
    assert Took(part="test-faults", seconds=seconds, slowness=slowness).over is over


def test_a_part_over_its_budget_fails_only_where_budgets_are_held() -> None:
    late = [Took(part="check", seconds=500, slowness=1.0)]

    assert (verdict(late, hold=False), verdict(late, hold=True)) == (0, 1)
    assert "OVER ITS BUDGET" in table(late)


def test_a_part_that_failed_fails_the_run() -> None:
    failed = [Took(part="check", seconds=5, slowness=1.0, status=2)]

    assert verdict(failed, hold=False) == 1
    assert "FAILED" in table(failed)


def test_an_unstable_test_is_named_and_does_not_fail_the_run() -> None:
    part = Took(part="test-faults", seconds=5, slowness=1.0, unstable=("tests/faults/test_a.py::test_b",))

    assert verdict([part], hold=True) == 0
    assert "FAILED AT FIRST, PASSED AT THE SECOND TRY: tests/faults/test_a.py::test_b" in table([part])


@pytest.mark.parametrize(
    ("source", "failed", "passes"),
    [
        ("def test_a(): pass", 1, True),
        ("def test_a(): assert False", 1, False),
        ("def test_a(): pass", 0, False),
        ("def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\ndef test_d(): pass", 4, False),
    ],
)
def test_few_failed_tests_pass_if_all_of_them_pass_the_second_time(
    source: str, failed: int, passes: bool, tmp_path: Path
) -> None:
    """A run that failed without naming a test, or with many failures, stays a failure."""
    (tmp_path / "test_it.py").write_text(source)
    tests = tuple(f"{tmp_path}/test_it.py::test_{name}" for name in "abcd"[:failed])
    (tmp_path / "failed").write_text("".join(f"{test}\n" for test in tests))

    assert second_try(tmp_path / "failed") == (tests if passes else ())


def test_a_run_writes_the_tests_that_failed_and_those_with_errors_in_a_fixture(tmp_path: Path) -> None:
    """Also where workers of pytest-xdist run them; a test that passed is not in the file."""
    root = Path(__file__).parents[2]
    directory = root / "tests" / "unit" / f"written_{os.getpid()}"
    source = (
        "import pytest\n@pytest.fixture\ndef bad():\n    yield\n    raise ValueError\n"
        "def test_passes(): pass\ndef test_fails(): assert False\ndef test_error(bad): pass\n"
    )
    directory.mkdir()
    try:
        (directory / "test_written.py").write_text(source)
        subprocess.run(
            [sys.executable, "-m", "pytest", "--numprocesses=1", str(directory)],
            env={**os.environ, FAILED_TO: str(tmp_path / "failed")},
            cwd=root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        shutil.rmtree(directory)
    assert sorted(test.rpartition("::")[2] for test in (tmp_path / "failed").read_text().splitlines()) == [
        "test_error", "test_fails",
    ]  # fmt: skip
