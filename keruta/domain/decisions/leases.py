"""Decisions about attempts whose lease expires or whose worker is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keruta.domain.decisions.values import BLOCKED, NOW, Attempt, Decision, Guard, Standing, from_sources, requeued
from keruta.domain.lifecycle import NOT_STARTED, Change
from keruta.domain.messages import Message, fields_of, message


def on_lease_expired(task: Standing, lease_seconds: float) -> Decision:
    """Decide what becomes of a leased task whose lease has run out.

    Before the start it may run again, whatever its policy, or has failed for want of attempts. After the start its
    policy decides: `always` runs it again, once its worker no longer has it; every other end is not known.
    """
    attempt = task.attempt
    assert attempt is not None
    if task.status in NOT_STARTED:
        return _never_started(task, attempt)
    if task.policy == "always" and _attempts_left(task) and not task.cancel_requested:
        told = message("attempt_silent_retried", worker=attempt.worker)
        fields = requeued("EndNotKnown", told)
        del fields["claim"]
        return _retried(task, attempt, "EndNotKnown", told, {**fields, **BLOCKED})
    told = message("attempt_silent_unknown", worker=attempt.worker, seconds=lease_seconds)
    return Decision(
        change=Change.LOSE, guard=_guard(task, attempt), fields={"reason": "EndNotKnown", **fields_of(told)}
    )


def on_unanswered(task: Standing) -> Decision:
    """Decide what becomes of a suspended task that nobody has answered in time: it has failed."""
    told = message("answer_timed_out")
    return Decision(
        change=Change.EXPIRE,
        guard=from_sources(Change.EXPIRE, answer_late=True),
        fields={"reason": "AnswerTimedOut", **fields_of(told), "question": None, "ended_at": NOW},
    )


def heirs(orphans: Sequence[str], slots: Mapping[str, int]) -> list[tuple[str, str]]:
    """Choose a worker for each task whose worker is gone: in turn, beginning with the one with most slots.

    Args:
        orphans: the tasks.
        slots: of each live worker.
    """
    workers = sorted(slots, key=lambda worker: -slots[worker])
    return [(task, workers[number % len(workers)]) for number, task in enumerate(orphans)]


def _never_started(task: Standing, attempt: Attempt) -> Decision:
    told = message("attempt_silent_before_start", worker=attempt.worker)
    if task.cancel_requested:
        return _ended(task, attempt, Change.END_CANCELLED, "cancelled", "Cancelled", told)
    if _attempts_left(task):  # it provably never started, so this breaks no policy
        return _retried(task, attempt, "WorkerLost", told, requeued("WorkerLost", told))
    return _ended(task, attempt, Change.FAIL, "failed", "WorkerLost", told)


def _attempts_left(task: Standing) -> bool:
    return task.tries < task.retry.max_attempts


def _guard(task: Standing, attempt: Attempt, *, not_cancelled: bool = False) -> Guard:
    """The task stands as it was read, and no heartbeat came meanwhile."""
    return Guard(
        statuses=frozenset({task.status}),
        attempt=attempt.number,
        execution=attempt.execution,
        lease_over=True,
        not_cancelled=not_cancelled,
    )


def _ended(task: Standing, attempt: Attempt, change: Change, outcome: str, reason: str, told: Message) -> Decision:
    said = {"reason": reason, **fields_of(told), "ended_at": NOW}
    return Decision(change=change, guard=_guard(task, attempt), fields=said, attempt={**said, "outcome": outcome})


def _retried(task: Standing, attempt: Attempt, reason: str, told: Message, fields: Mapping[str, object]) -> Decision:
    return Decision(
        change=Change.RETRY,
        guard=_guard(task, attempt, not_cancelled=True),
        fields=fields,
        attempt={"reason": reason, **fields_of(told), "outcome": "retried", "ended_at": NOW},
        closes_attempt=True,
    )
