"""How many workers there should be."""

from __future__ import annotations

import pytest

from keruta.domain.scaling import Bounds, workers_wanted

BOUNDS = Bounds(least=1, most=4, slots=10, calm_seconds=60)


@pytest.mark.parametrize(
    ("tasks", "wanted"), [(0, 1), (1, 1), (10, 1), (11, 2), (31, 4), (40, 4), (41, 4), (100_000, 4)]
)
def test_as_many_workers_as_the_tasks_need_within_bounds(tasks: int, wanted: int) -> None:
    assert workers_wanted(tasks, BOUNDS) == wanted


def test_a_pool_may_go_to_nothing() -> None:
    assert workers_wanted(0, Bounds(least=0, most=3, slots=2, calm_seconds=0)) == 0


def test_more_tasks_than_the_pool_can_ever_make_are_not_counted() -> None:
    assert BOUNDS.tasks_that_count == 40
