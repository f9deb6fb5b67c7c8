"""Decisions about tasks whose coding agent waits for a person: suspended, answered, cancelled, given up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keruta.domain.decisions.assignment import on_assign
from keruta.domain.decisions.commands import Cancel, Input, Rerun, on_command
from keruta.domain.decisions.ends import REPEAT, Circumstances
from keruta.domain.decisions.leases import on_lease_expired, on_unanswered
from keruta.domain.decisions.reports import on_report
from keruta.domain.decisions.values import (
    NOW,
    Appended,
    Attempt,
    Counted,
    Decision,
    Guard,
    Kept,
    Later,
    NextNumber,
    Standing,
    removed_by,
)
from keruta.domain.lifecycle import LEASED, Change, Status
from keruta.domain.principal import Principal, Sender
from keruta.domain.reports import Ended, Outcome, Suspended
from keruta.domain.specification import Granted
from keruta.domain.task import RetryPolicy
from keruta.errors import Conflict

ID = "t" * 26
ANN = Principal(subject="ann", name="Ann")
NOW_AND = Circumstances(lease_seconds=30, suspend_seconds=77)
ATTEMPT = Attempt(number=2, id=f"{ID}-2", worker="w1", execution="x")
ENTRY = Suspended(
    task=ID, attempt=2, execution="x", question="Which?", input_acknowledged=1, commit="c" * 40, usage={"turns": 2.0},
    outputs={"a": "b"}, answer="So far", model="m", granted=Granted(secrets={"A": "b"}, network="closed"),
)  # fmt: skip


def task(status: Status = Status.WAITING, **more: Any) -> Standing:
    return Standing(**{"id": ID, "status": status, "attempt": ATTEMPT, "managers": ("user:ann",), "inputs": 1, **more})


def report(standing: Standing, entry: Any = ENTRY) -> Decision | Outcome:
    return on_report(standing, entry, Sender(worker="w1"), NOW_AND)


def test_a_suspended_task_holds_no_slot() -> None:
    """And what leads there removes its lease and its worker."""
    assert Status.SUSPENDED not in LEASED
    assert removed_by(Change.SUSPEND) == ("lease_until", "holder")


@pytest.mark.parametrize("change", [Change.ANSWER, Change.CANCEL, Change.EXPIRE])
def test_the_time_for_an_answer_ends_with_the_suspension(change: Change) -> None:
    assert "answer_until" in removed_by(change)


def test_a_waiting_attempt_is_suspended() -> None:
    """The attempt is over, with what it left; the question stays, for a set time."""
    found = report(task())

    assert isinstance(found, Decision)
    assert found.change is Change.SUSPEND
    assert found.guard == Guard(
        statuses=frozenset({Status.WAITING}), attempt=2, execution="x", not_cancelled=True, fewer_inputs=2
    )
    assert found.fields == {"question": "Which?", "answer_until": Later(77)}
    assert not found.closes_attempt
    assert found.attempt == {
        "outcome": "suspended", "ended_at": NOW, "commit": "c" * 40, "outputs": {"a": "b"}, "usage": {"turns": 2.0},
        "artifacts": [], "answer": "So far", "model": "m", "granted": msgspec.to_builtins(ENTRY.granted),
    }  # fmt: skip


@pytest.mark.parametrize("status", [one for one in Status if one not in (Status.WAITING, Status.QUEUED)])
def test_only_what_waits_is_suspended(status: Status) -> None:
    found = report(task(status))

    assert isinstance(found, Outcome)
    assert (found.accepted, found.reason) == (False, "NotWaiting")


def test_a_cancelled_attempt_is_not_suspended() -> None:
    """Its agent ends it."""
    assert report(task(cancel_requested=True)).reason == "NotWaiting"  # type: ignore[union-attr]


def test_another_execution_is_not_heard() -> None:
    assert report(task(), msgspec.structs.replace(ENTRY, execution="y")).reason == "StaleAttempt"  # type: ignore[union-attr]


def test_a_suspension_is_told_twice() -> None:
    """The second time it is a repeat."""
    ended = msgspec.structs.replace(ATTEMPT, outcome="suspended")

    assert report(task(Status.SUSPENDED, attempt=ended)) is REPEAT


def test_what_a_person_sent_goes_to_the_coding_agent_first() -> None:
    """An attempt that has not had all of it goes on."""
    assert report(task(inputs=2)).reason == "InputPending"  # type: ignore[union-attr]


def test_an_answer_that_came_in_time_begins_the_next_attempt_at_once() -> None:
    """Where the coding agent has ended with its question, nobody else could have it."""
    found = report(task(inputs=2), msgspec.structs.replace(ENTRY, over=True))

    assert isinstance(found, Decision)
    assert (found.change, found.closes_attempt) == (Change.ANSWER, True)
    assert found.guard.fewer_inputs is None
    assert found.guard.not_cancelled
    assert found.fields["resume.attempt"] == 2
    assert found.fields["resume.passed"] == 1
    assert found.fields["resume.input"] == Kept("input")
    assert found.attempt["outcome"] == "suspended"


def test_an_end_without_an_answer_is_suspended() -> None:
    """Also where the coding agent has ended."""
    assert report(task(), msgspec.structs.replace(ENTRY, over=True)).change is Change.SUSPEND  # type: ignore[union-attr]


def test_an_answer_queues_the_attempt_that_resumes() -> None:
    """With the question and the answer, and outside the attempts that a task may have."""
    found = on_command(task(Status.SUSPENDED, inputs=1), Input(text="Blue"), ANN)

    assert (found.change, found.closes_attempt, found.attempt) == (Change.ANSWER, True, {})
    assert found.guard == Guard(statuses=frozenset({Status.SUSPENDED}), attempt=2, managed_by=ANN.names)
    entry = {"number": NextNumber("input"), "text": "Blue", "at": NOW}
    assert {name: found.fields[name] for name in found.fields if name.startswith(("resume", "uncounted", "push"))} == {
        "resume.attempt": 2, "resume.question": Kept("question"), "resume.passed": 1,
        "resume.input": Appended("input", entry), "uncounted": Counted("uncounted"), "push": None,
    }  # fmt: skip
    assert found.fields["claim"] == Kept("lane")
    assert found.fields["input"] == []


def test_what_waits_before_anything_ran_has_no_session_to_answer() -> None:
    with pytest.raises(Conflict):
        on_command(task(Status.SUSPENDED, attempt=None), Input(text="Blue"), ANN)


def test_a_suspended_task_is_cancelled_at_once() -> None:
    """It asks nothing any more."""
    found = on_command(task(Status.SUSPENDED), Cancel(), ANN)

    assert found.change is Change.CANCEL
    assert found.fields["question"] is None
    assert "question" not in on_command(task(Status.UNKNOWN), Cancel(), ANN).fields


def test_nobody_answers_in_time() -> None:
    found = on_unanswered(task(Status.SUSPENDED))

    assert found.change is Change.EXPIRE
    assert found.guard == Guard(statuses=frozenset({Status.SUSPENDED}), answer_late=True)
    assert found.fields["reason"] == "AnswerTimedOut"
    assert found.fields["message_code"] == "answer_timed_out"
    assert (found.fields["question"], found.fields["ended_at"]) == (None, NOW)


def test_the_next_attempt_knows_which_it_resumes() -> None:
    assert on_assign("w1", 30).attempt["resumes"] == Kept("resume.attempt")


def test_a_retry_by_a_person_begins_anew() -> None:
    assert on_command(task(Status.FAILED), Rerun(), ANN).fields["resume"] is None


@pytest.mark.parametrize(("uncounted", "again"), [(0, False), (1, True)])
def test_resumed_attempts_do_not_count(uncounted: int, again: bool) -> None:
    """Of those that a task may have, neither for a failure before the start nor for a lost worker."""
    retry = RetryPolicy(policy="always", max_attempts=2)
    before = msgspec.structs.replace(ATTEMPT, execution=None)
    fields: dict[str, Any] = {"retry": retry, "uncounted": uncounted}
    ended = Ended(task=ID, attempt=2, status="failed", reason="CloneFailed")

    failed = report(task(Status.PREPARING, attempt=before, **fields), ended)
    lost = on_lease_expired(task(Status.PREPARING, attempt=before, **fields), 30)
    silent = on_lease_expired(task(Status.RUNNING, **fields), 30)

    assert isinstance(failed, Decision)
    assert (failed.change is Change.RETRY) is again
    assert (lost.change is Change.RETRY) is again
    assert (silent.change is Change.RETRY) is again
    assert Standing(id=ID, status=Status.QUEUED).tries == 0


# ---------------------------------------------------------------- resumed after its model's limits

LIMITED = Ended(
    task=ID, attempt=2, execution="x", status="failed", reason="ModelRateLimited", retry_after_seconds=3600,
    usage={"turns": 3.0}, granted=Granted(model="m"), commit="c" * 40,
)  # fmt: skip
NEVER = RetryPolicy(policy="never", max_attempts=1)


@pytest.mark.parametrize("reason", ["ModelRateLimited", "ModelOverloaded"])
@pytest.mark.parametrize("status", [Status.RUNNING, Status.WAITING, Status.UNKNOWN])
def test_a_limit_of_the_model_holds_the_task_and_resumes_it(reason: str, status: Status) -> None:
    """Until the reset that the model's server names, or with backoff; under every policy, and not counted."""
    entry = msgspec.structs.replace(LIMITED, reason=reason)
    now = Circumstances(lease_seconds=30, backoff_seconds=7)

    found = on_report(task(status, retry=NEVER), entry, Sender(worker="w1"), now)

    assert isinstance(found, Decision)
    assert (found.change, found.closes_attempt) == (Change.RETRY, True)
    assert found.fields["not_before"] == Later(3600)
    assert "claim" not in found.fields
    assert (found.fields["resume.attempt"], found.fields["resume.input"]) == (2, [])
    assert found.fields["uncounted"] == Counted("uncounted")
    assert found.attempt["granted"] == msgspec.to_builtins(LIMITED.granted)
    assert found.attempt["outcome"] == "retried"
    short = on_report(
        task(status, retry=NEVER), msgspec.structs.replace(entry, retry_after_seconds=None), Sender(worker="w1"), now
    )
    assert isinstance(short, Decision)
    assert short.fields["not_before"] == Later(7)


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"granted": None}, {}),
        ({"reason": "ModelUnauthorized"}, {}),
        ({"reason": "BudgetExceeded"}, {}),
        ({}, {"cancel_requested": True}),
        ({"usage": {}}, {}),
    ],
)
def test_what_can_not_be_resumed_has_failed(changed: dict[str, Any], more: dict[str, Any]) -> None:
    """No stored session, another reason, a cancelled task, or no answer of the model in the last attempt."""
    found = report(task(Status.RUNNING, retry=NEVER, **more), msgspec.structs.replace(LIMITED, **changed))

    assert isinstance(found, Decision)
    assert found.change is Change.FAIL


def test_an_attempt_that_its_model_never_answered_counts() -> None:
    """So that a server which is always overloaded is not asked for ever."""
    entry = msgspec.structs.replace(LIMITED, usage={})

    found = report(task(Status.RUNNING, retry=RetryPolicy(policy="never", max_attempts=3)), entry)

    assert isinstance(found, Decision)
    assert found.change is Change.RETRY
    assert "uncounted" not in found.fields


def test_a_success_is_not_resumed() -> None:
    found = report(task(Status.RUNNING), msgspec.structs.replace(LIMITED, status="succeeded"))

    assert isinstance(found, Decision)
    assert found.change is Change.SUCCEED
