"""Decisions about a task whose lease expires: every status, policy and number of attempts, cancelled or not."""

from __future__ import annotations

import itertools

import pytest

from keruta.domain.decisions.leases import heirs, on_lease_expired
from keruta.domain.decisions.values import BLOCKED, NOW, Attempt, Guard, Kept, Standing
from keruta.domain.lifecycle import LEASED, NOT_STARTED, Change, Status
from keruta.domain.task import Policy, RetryPolicy

POLICIES: tuple[Policy, ...] = ("never", "if_not_started", "always")
PRODUCT = list(itertools.product(sorted(LEASED), POLICIES, (2, 3, 4), (False, True)))


def task(status: str, policy: Policy = "if_not_started", number: int = 1, cancelled: bool = False) -> Standing:
    execution = None if status in NOT_STARTED else "x"
    return Standing(
        id="t",
        status=Status(status),
        attempt=Attempt(number=number, id=f"t-{number}", worker="w1", execution=execution),
        retry=RetryPolicy(policy=policy, max_attempts=3),
        cancel_requested=cancelled,
    )


def expected(status: str, policy: str, number: int, cancelled: bool) -> Change:
    """Return the change that the rules for leases demand, written a second time."""
    if status in NOT_STARTED:
        if cancelled:
            return Change.END_CANCELLED
        return Change.RETRY if number < 3 else Change.FAIL
    return Change.RETRY if policy == "always" and number < 3 and not cancelled else Change.LOSE


@pytest.mark.parametrize(("status", "policy", "number", "cancelled"), PRODUCT)
def test_every_lease_that_runs_out(status: str, policy: Policy, number: int, cancelled: bool) -> None:
    """The change, and a guard that holds only while the task stands as it was read and no heartbeat came."""
    standing = task(status, policy, number, cancelled)

    decision = on_lease_expired(standing, 30)

    assert decision.change is expected(status, policy, number, cancelled)
    assert decision.guard == Guard(
        statuses=frozenset({Status(status)}),
        attempt=number,
        execution=None if status in NOT_STARTED else "x",
        lease_over=True,
        not_cancelled=decision.change is Change.RETRY,
    )
    assert decision.closes_attempt == (decision.change is Change.RETRY)


def test_an_attempt_that_never_started_is_retried_at_once() -> None:
    """The task may be claimed; the attempt keeps its reason, message and end."""
    decision = on_lease_expired(task("assigned"), 30)

    assert decision.fields["claim"] == Kept("lane")
    assert decision.fields["reason"] == "WorkerLost"
    assert decision.fields["message_code"] == "attempt_silent_before_start"
    assert decision.attempt == {
        "reason": "WorkerLost",
        "message": "Worker w1 stopped reporting before the script had started.",
        "message_code": "attempt_silent_before_start",
        "message_arguments": {"worker": "w1"},
        "outcome": "retried",
        "ended_at": NOW,
    }


@pytest.mark.parametrize(
    ("cancelled", "outcome", "reason"), [(True, "cancelled", "Cancelled"), (False, "failed", "WorkerLost")]
)
def test_an_attempt_that_never_started_and_is_not_retried_has_ended(cancelled: bool, outcome: str, reason: str) -> None:
    """The task and its attempt have the same end."""
    decision = on_lease_expired(task("preparing", number=3, cancelled=cancelled), 30)

    assert (decision.fields["reason"], decision.attempt["reason"]) == (reason, reason)
    assert decision.fields["message_code"] == decision.attempt["message_code"] == "attempt_silent_before_start"
    assert (decision.fields["ended_at"], decision.attempt["ended_at"]) == (NOW, NOW)
    assert decision.attempt["outcome"] == outcome
    assert "outcome" not in decision.fields


def test_an_attempt_that_runs_again_waits_until_its_worker_no_longer_has_it() -> None:
    decision = on_lease_expired(task("running", "always"), 30)

    assert "claim" not in decision.fields
    assert {name: decision.fields[name] for name in BLOCKED} == BLOCKED
    assert decision.fields["reason"] == decision.attempt["reason"] == "EndNotKnown"
    assert decision.fields["message_code"] == decision.attempt["message_code"] == "attempt_silent_retried"
    assert decision.attempt["outcome"] == "retried"


def test_what_may_not_run_again_waits_for_its_worker_or_a_person() -> None:
    """The message says for how long nothing was heard; nothing of the attempt is touched: it may go on."""
    decision = on_lease_expired(task("waiting"), 30)

    assert decision.change is Change.LOSE
    assert decision.attempt == {}
    assert decision.fields["reason"] == "EndNotKnown"
    assert decision.fields["message_code"] == "attempt_silent_unknown"
    assert decision.fields["message_arguments"] == {"worker": "w1", "seconds": 30}


def test_attempts_of_lost_workers_go_to_the_others_in_turn() -> None:
    """Beginning with the worker that has most slots."""
    assert heirs(["a", "b", "c"], {"small": 1, "large": 3}) == [("a", "large"), ("b", "small"), ("c", "large")]
    assert heirs([], {"w": 1}) == []
