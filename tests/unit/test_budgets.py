"""Budgets of queues: what they leave for another attempt, what one has spent, and how a plan keeps to them."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.domain.catalog.budgets import PLENTY, Budget, Spent, settled
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.decode import convert
from keruta.domain.scheduling import Candidate, Lane, Limits, Running, make_plan
from keruta.domain.waiting import Surroundings, why_not_assigned

BUDGET = Budget(tokens_per_day=100, usd_per_day=1.0, submitter_tokens_per_day=60, task_tokens=30, task_usd=0.1)


def lane(submitter: str = "ann", profile: str = "agent", queue: str = "q") -> Lane:
    return Lane(queue=queue, submitter=submitter, repository="app", profile=profile)


def waiting(*lanes: Lane) -> dict[Lane, list[Candidate]]:
    return {one: [Candidate(rank=0, id=f"{number}-{n}") for n in range(5)] for number, one in enumerate(lanes)}


@pytest.mark.parametrize(
    ("spent", "of_submitter", "room"),
    [
        (Spent(), False, 3),
        (Spent(tokens=11), False, 2),
        (Spent(tokens=70), False, 1),
        (Spent(tokens=71), False, 0),
        (Spent(tokens=1000), False, 0),
        (Spent(usd=0.7), False, 3),
        (Spent(usd=0.1 + 0.2 + 0.6), False, 1),
        (Spent(usd=0.91), False, 0),
        (Spent(usd=99.0), True, 2),
        (Spent(tokens=31), True, 0),
    ],
)
def test_what_is_left_covers_so_many_attempts(spent: Spent, of_submitter: bool, room: int) -> None:
    assert BUDGET.room(spent, of_submitter=of_submitter) == room


def test_what_is_not_limited_covers_everything() -> None:
    assert Budget(task_tokens=5).room(Spent(tokens=1e12), of_submitter=False) == PLENTY


@pytest.mark.parametrize(
    ("usage", "known", "spent"),
    [
        ({"input_tokens": 3.0, "cache_read_tokens": 4.0, "output_tokens": 5.0, "cost_usd": 0.01}, True, (12.0, 0.01)),
        ({"input_tokens": 3.0}, True, (3.0, 0.1)),
        ({}, True, (0.0, 0.0)),
        ({}, False, (30.0, 0.1)),
        (None, False, (30.0, 0.1)),
        ({"input_tokens": 3.0, "cost_usd": 0.0}, False, (3.0, 0.0)),
    ],
)
def test_what_is_not_known_of_an_attempt_counts_as_reserved(
    usage: dict[str, float] | None, known: bool, spent: tuple[float, float]
) -> None:
    found = settled(BUDGET.reserved, usage, known=known)

    assert (found.tokens, found.usd) == spent


@pytest.mark.parametrize(
    ("budget", "at"),
    [
        ({"tokens_per_day": 10}, "/budget/task_tokens"),
        ({"submitter_usd_per_day": 10}, "/budget/task_usd"),
        ({"tokens_per_day": 10, "task_tokens": 11}, "/budget/tokens_per_day"),
        ({"usd_per_day": 0}, "/budget/usd_per_day"),
    ],
)
def test_a_budget_says_what_a_task_may_use(budget: dict[str, Any], at: str) -> None:
    assert [fault["at"] for fault in convert({"name": "q", "budget": budget}, QueueSpec)[1]] == [at]


def test_a_task_may_use_the_lower_of_both_limits() -> None:
    options = BUDGET.limited(CodingAgentOptions(max_tokens=10, max_cost_usd=5.0))
    assert (options.max_tokens, options.max_cost_usd) == (10, 0.1)

    options = Budget(task_tokens=30).limited(CodingAgentOptions())
    assert (options.max_tokens, options.max_cost_usd) == (30, None)


def test_a_plan_keeps_to_a_queues_budget_and_to_each_submitters() -> None:
    """Tasks of profiles without a coding agent, and of other queues, spend nothing."""
    limits = Limits(
        budgets={("q", ""): 3, ("q", "ann"): 1, ("q", "bob"): 9}, metered=frozenset({"agent"}),
    )  # fmt: skip
    lanes = waiting(lane(), lane("bob"), lane("bob", "shell"), lane("bob", queue="other"))
    plan = make_plan(lanes, {"w": 100}, Running({}), limits)

    started = [choice.task[0] for choice in plan]
    assert (started.count("0"), started.count("1"), started.count("2"), started.count("3")) == (1, 2, 5, 5)
    assert {choice.task[0] for choice in plan if choice.spends} == {"0", "1"}


@pytest.mark.parametrize(
    ("budgets", "code"),
    [
        ({("q", ""): 0, ("q", "ann"): 4}, "waiting_budget"),
        ({("q", ""): 4, ("q", "ann"): 0}, "waiting_submitter_budget"),
        ({("q", ""): 4, ("q", "ann"): 4}, "waiting_for_assignment"),
    ],
)
def test_why_a_task_waits_names_the_budget(budgets: dict[tuple[str, str], int], code: str) -> None:
    limits = Limits(budgets=budgets, metered=frozenset({"agent"}))

    assert why_not_assigned(
        Surroundings(lane=lane(), running=Running({}), limits=limits, slots=[2], free=2)
    ).code == code  # fmt: skip
