"""Decisions about a task when a person commands it: every status and command."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.domain.decisions.commands import (
    INPUTS_LIMIT,
    Accept,
    Cancel,
    Command,
    Input,
    Push,
    Rerun,
    on_command,
    on_queue_missing,
    on_resource_deleted,
)
from keruta.domain.decisions.values import (
    NOW,
    UNCHECKED,
    Appended,
    Attempt,
    Guard,
    Kept,
    NextNumber,
    Standing,
    removed_by,
)
from keruta.domain.lifecycle import ENDED, LEASED, Change, Status
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden

ANN = Principal(subject="ann", name="Ann")
ATTEMPT = Attempt(number=2, id="t-2", worker="w1", execution="x")
LAST_WORD = Kept("changed_at")


def task(status: Status, **more: Any) -> Standing:
    fields: dict[str, Any] = {"id": "t", "status": status, "managers": ("user:ann",)}
    if status is not Status.QUEUED:
        fields["attempt"] = ATTEMPT
    return Standing(**fields | more)


@pytest.mark.parametrize("command", [Cancel(), Rerun(), Accept(), Push(), Input(text="x")])
@pytest.mark.parametrize("status", list(Status))
def test_a_command_is_refused_in_every_status_that_does_not_allow_it(status: Status, command: Command) -> None:
    """The message names the status and the command."""
    allowed = {
        Cancel: LEASED | {Status.QUEUED, Status.SUSPENDED, Status.UNKNOWN},
        Rerun: {Status.UNKNOWN, Status.FAILED, Status.CANCELLED},
        Accept: {Status.UNKNOWN},
        Push: {Status.UNKNOWN, Status.FAILED, Status.CANCELLED},
        Input: {Status.RUNNING, Status.WAITING, Status.SUSPENDED},
    }[type(command)]

    if status in allowed:
        decision = on_command(task(status, work_kept_by=1), command, ANN)
        assert status in decision.guard.statuses
        assert decision.guard.managed_by == ANN.names
    else:
        with pytest.raises(Conflict, match=f"status is .{status}") as refused:
            on_command(task(status), command, ANN)
        assert refused.value.reason == "WrongStatus"
        assert refused.value.message.code == "task_wrong_status"
        assert refused.value.message.arguments["acted"] == message(f"acted_{command.action}")


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (Cancel(), "cancel"),
        (Rerun(), "retry"),
        (Accept(), "accept"),
        (Push(), "push its work"),
        (Input(text="x"), "input"),
    ],
)
def test_who_does_not_manage_a_task_decides_nothing_about_it(command: Command, action: str) -> None:
    """Also in a status that would allow it."""
    with pytest.raises(Forbidden, match=rf"may do this \({action}\)") as refused:
        on_command(task(Status.UNKNOWN, managers=("user:bob",)), command, ANN)

    assert refused.value.reason == "GrantMissing"


def test_a_push_is_an_attempt_of_its_own() -> None:
    """With what is to be pushed; another attempt at the script forgets that."""
    pushed = on_command(task(Status.FAILED, work_kept_by=2), Push(branch="b"), ANN)
    again = on_command(task(Status.FAILED, work_kept_by=2), Rerun(), ANN)

    assert pushed.change is Change.PUSH
    assert pushed.closes_attempt
    assert pushed.fields["push"] == {"attempt": 2, "branch": "b", "if_exists": None}
    assert again.fields["push"] is None


def test_where_no_work_is_kept_none_is_pushed() -> None:
    """And the sentence says so."""
    with pytest.raises(Conflict) as refused:
        on_command(task(Status.FAILED), Push(), ANN)

    assert (refused.value.reason, refused.value.message.code) == ("NoWorkKept", "task_no_work")


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUSPENDED])
def test_a_task_of_which_nothing_runs_is_cancelled_at_once(status: Status) -> None:
    """With who cancelled it, and nothing said of an attempt."""
    decision = on_command(task(status), Cancel(), ANN)

    assert decision.change is Change.CANCEL
    assert decision.guard == Guard(statuses=frozenset({status}), managed_by=ANN.names)
    assert decision.fields == {
        "reason": "Cancelled",
        "message": "Cancelled by Ann.",
        "message_code": "task_cancelled_by",
        "message_arguments": {"who": "Ann"},
        "ended_at": NOW,
        **({"question": None} if status is Status.SUSPENDED else {}),
    }
    assert decision.attempt == {}
    assert not decision.closes_attempt


def test_an_attempt_whose_end_is_not_known_ended_before_the_task_was_cancelled() -> None:
    """At the last change of the task, not when a person decided."""
    decision = on_command(task(Status.UNKNOWN), Cancel(), ANN)

    assert decision.change is Change.CANCEL
    assert decision.guard.statuses == {Status.UNKNOWN}
    assert decision.attempt == {"ended_at": LAST_WORD}


@pytest.mark.parametrize("status", sorted(LEASED))
def test_a_task_that_is_at_work_is_asked_to_stop_once(status: Status) -> None:
    """The status stays; a second wish does not change the time of the first."""
    decision = on_command(task(status), Cancel(), ANN)

    assert decision.change is None
    assert decision.guard == Guard(statuses=LEASED, managed_by=ANN.names)
    assert decision.fields == {"cancel_requested_at": Kept("cancel_requested_at", NOW)}
    assert decision.removed == ()


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.UNKNOWN])
def test_another_attempt_begins_with_a_clean_task(status: Status) -> None:
    """The attempt before it keeps its end; only one without an end gets that of the last word of it."""
    decision = on_command(task(status), Rerun(), ANN)

    assert decision.change is Change.RERUN
    assert decision.guard.statuses == {status}
    assert decision.closes_attempt
    assert decision.attempt == {
        "ended_at": Kept("attempt.ended_at", LAST_WORD),
        "outcome": Kept("attempt.outcome", "lost"),
    }
    cleared = ("reason", "message", "message_code", "message_arguments", "exit_code", "question", "ended_at", "log")
    assert all(decision.fields[name] is None for name in (*cleared, "cancel_requested_at"))
    assert decision.fields["input"] == []
    assert decision.fields["draws_on"] == Kept("named")


def test_another_attempt_may_be_claimed_at_once_after_a_known_end() -> None:
    decision = on_command(task(Status.FAILED), Rerun(), ANN)

    assert decision.fields["claim"] == Kept("lane")
    assert not [name for name in decision.fields if name.startswith("blocked_by")]


def test_another_attempt_waits_for_the_worker_of_one_that_may_still_be_at_work() -> None:
    decision = on_command(task(Status.UNKNOWN), Rerun(), ANN)

    assert "claim" not in decision.fields
    assert decision.fields["blocked_by.worker"] == Kept("attempt.worker")
    assert decision.fields["blocked_by.attempt"] == Kept("attempt.id")


def test_an_accepted_task_has_succeeded() -> None:
    """And so has its attempt, which ended when the last word of it came."""
    decision = on_command(task(Status.UNKNOWN), Accept(), ANN)

    assert decision.change is Change.ACCEPT
    assert decision.guard == Guard(statuses=frozenset({Status.UNKNOWN}), managed_by=ANN.names)
    assert decision.fields["reason"] == "Accepted"
    assert decision.fields["message"] == "Its end was not known; Ann checked and accepted it."
    assert decision.fields["ended_at"] is NOW
    assert decision.attempt == {"outcome": "succeeded", "ended_at": LAST_WORD}


@pytest.mark.parametrize("status", [Status.RUNNING, Status.WAITING])
def test_input_is_appended_with_the_next_number(status: Status) -> None:
    decision = on_command(task(status), Input(text="$x"), ANN)

    assert decision.change is None
    assert decision.guard == Guard(
        statuses=frozenset({Status.RUNNING, Status.WAITING}), managed_by=ANN.names, fewer_inputs=INPUTS_LIMIT
    )
    assert decision.fields == {
        "input": Appended("input", {"number": NextNumber("input"), "text": "$x", "at": NOW}),
    }


def test_a_task_takes_so_many_inputs_and_no_more() -> None:
    assert on_command(task(Status.RUNNING, inputs=INPUTS_LIMIT - 1), Input(text="x"), ANN)
    with pytest.raises(Conflict):
        on_command(task(Status.RUNNING, inputs=INPUTS_LIMIT), Input(text="x"), ANN)


def test_a_queued_task_fails_when_what_it_needs_is_deleted() -> None:
    """Only if it is queued, and needs just this, when the decision is written."""
    decision = on_resource_deleted("queue", "night", ANN)

    assert decision.change is Change.REFUSE
    assert decision.guard == Guard(statuses=frozenset({Status.QUEUED}), draws_on="queue:night")
    assert decision.fields["reason"] == "ResourceDeleted"
    assert decision.fields["message"] == (
        "The queue night was deleted by Ann while it waited; submit it again with another."
    )
    assert decision.fields["ended_at"] is NOW


def test_a_task_whose_queue_is_missing_fails_if_it_still_waits_there() -> None:
    decision = on_queue_missing("night")
    assert decision.change is Change.REFUSE
    assert decision.guard.draws_on == "queue:night"
    assert decision.fields["reason"] == "ResourceDeleted"
    assert decision.fields["ended_at"] is NOW
    assert "night" in decision.fields["message"]


def test_a_guard_checks_nothing_of_an_attempt_unless_told() -> None:
    """None is a value to look for: no execution on record."""
    guard = Guard(statuses=frozenset())

    assert guard.attempt is UNCHECKED
    assert guard.execution is UNCHECKED


WAYS_OUT_OF_THE_QUEUE = ("claim", "not_before", "blocked_by")


@pytest.mark.parametrize("change", list(Change))
def test_what_a_change_removes(change: Change) -> None:
    """A lease only while leased, a holder while it may be at work, needs until the end, and one way to be claimed."""
    gone = removed_by(change)
    leads_to_end = change in {
        Change.SUCCEED, Change.FAIL, Change.END_CANCELLED, Change.REFUSE, Change.CANCEL, Change.ACCEPT, Change.EXPIRE,
    }  # fmt: skip
    gives_back = leads_to_end or change in {Change.RETRY, Change.RERUN, Change.PUSH, Change.ANSWER, Change.SUSPEND}

    assert ("lease_until" in gone) == (gives_back or change is Change.LOSE)
    assert ("holder" in gone) == gives_back
    assert ("draws_on" in gone) == leads_to_end
    leaves_queue = change in {Change.ASSIGN, Change.CANCEL, Change.REFUSE}
    assert [name for name in gone if name in WAYS_OUT_OF_THE_QUEUE] == (
        list(WAYS_OUT_OF_THE_QUEUE) if leaves_queue else []
    )
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == ENDED
