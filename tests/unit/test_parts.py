"""Budgets of the parts of the test suite: a real slowdown is told, a slow machine is not blamed on a change."""

from __future__ import annotations

import pytest

from tests.parts import BUDGET_SECONDS, ROWS, Took, table, verdict


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
