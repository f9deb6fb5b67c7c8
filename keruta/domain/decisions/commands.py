"""Decisions about a task when a person commands it, or deletes entries that it needs."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from keruta.domain.audit import Action
from keruta.domain.decisions.room import FULL_BYTES
from keruta.domain.decisions.values import (
    BLOCKED,
    NOW,
    Appended,
    Decision,
    Guard,
    Kept,
    NextNumber,
    Standing,
    from_sources,
    requeued,
    resumption,
)
from keruta.domain.lifecycle import LEASED, STARTED, Change, Status, sources
from keruta.domain.messages import Argument, acted_word, action_word, fields_of, kind_word, message, status_word
from keruta.domain.principal import Principal
from keruta.domain.task import IfExists
from keruta.errors import Conflict, Forbidden

INPUTS_LIMIT = 1000


class Cancel(msgspec.Struct, frozen=True):
    """End the task, or have its agent end it."""

    action: ClassVar[Action] = "cancel"


class Rerun(msgspec.Struct, frozen=True):
    """Make another attempt."""

    action: ClassVar[Action] = "retry"


class Accept(msgspec.Struct, frozen=True):
    """Count a task whose end is not known as done."""

    action: ClassVar[Action] = "accept"


class Push(msgspec.Struct, frozen=True):
    """Push the work that an attempt kept; None: as the task asked for."""

    branch: str | None = None
    if_exists: IfExists | None = None
    action: ClassVar[Action] = "push"


class Input(msgspec.Struct, frozen=True):
    """Send a line to the running script; or the answer that a suspended one waits for."""

    text: str
    action: ClassVar[Action] = "input"


Command = Cancel | Rerun | Accept | Push | Input


def on_command(task: Standing, command: Command, by: Principal) -> Decision:
    """Decide what a person's command makes of a task that they may see.

    Raises:
        Forbidden: the task is not theirs to decide about.
        Conflict: not in the status that it is in.
    """
    if set(task.managers).isdisjoint(by.names):
        raise Forbidden(message("task_not_yours", action=_word(command)), reason="GrantMissing")
    decision = _decided(task, command, by)
    if decision is None:
        said = message("task_wrong_status", acted=acted_word(command.action), status=status_word(task.status))
        raise Conflict(said, reason="WrongStatus")
    return decision


def on_resource_deleted(kind: str, name: str, by: Principal) -> Decision:
    """Decide what becomes of a queued task that needs an entry of the catalog which was deleted: it has failed."""
    told = message("task_resource_deleted", kind=kind_word(kind), name=name, who=by.name)
    guard = from_sources(Change.REFUSE, draws_on=f"{kind}:{name}")
    return Decision(
        change=Change.REFUSE, guard=guard, fields={"reason": "ResourceDeleted", **fields_of(told), "ended_at": NOW}
    )


def on_queue_missing(queue: str) -> Decision:
    """Decide what becomes of a task that would wait for ever, as its queue is not there: it has failed."""
    told = message("task_needs_gone", kind=kind_word("queue"), name=queue)
    guard = from_sources(Change.REFUSE, draws_on=f"queue:{queue}")
    return Decision(
        change=Change.REFUSE, guard=guard, fields={"reason": "ResourceDeleted", **fields_of(told), "ended_at": NOW}
    )


def _word(command: Command) -> Argument:
    return action_word(command.action)


def _decided(task: Standing, command: Command, by: Principal) -> Decision | None:
    match command:
        case Cancel():
            return _cancel(task, by)
        case Rerun():
            return _rerun(task, by)
        case Accept():
            return _accept(task, by)
        case Push():
            return _push(task, command, by)
        case Input():
            return _input(task, command, by)


def _cancel(task: Standing, by: Principal) -> Decision | None:
    """Cancel a task at once if nothing of it runs; otherwise ask its agent to cancel it."""
    if task.status in LEASED:
        return Decision(
            change=None,
            guard=Guard(statuses=LEASED, managed_by=by.names),
            fields={"cancel_requested_at": Kept("cancel_requested_at", NOW)},
        )
    if task.status not in sources(Change.CANCEL):
        return None
    lost = task.status is Status.UNKNOWN
    return Decision(
        change=Change.CANCEL,
        guard=Guard(statuses=frozenset({task.status}), managed_by=by.names),
        fields={
            "reason": "Cancelled",
            **fields_of(message("task_cancelled_by", who=by.name)),
            "ended_at": NOW,
            **({"question": None} if task.status is Status.SUSPENDED else {}),
        },
        attempt={"ended_at": _LAST_WORD} if lost else {},
    )


def _rerun(task: Standing, by: Principal) -> Decision | None:
    """Another attempt at the script."""
    if task.status not in sources(Change.RERUN):
        return None
    return _another(task, by, Change.RERUN, None)


def _push(task: Standing, command: Push, by: Principal) -> Decision | None:
    """Another attempt, which runs no script and pushes what an earlier one kept."""
    if task.status not in sources(Change.PUSH):
        return None
    if task.work_kept_by is None:
        raise Conflict(message("task_no_work"), reason="NoWorkKept")
    wanted = {"attempt": task.work_kept_by, "branch": command.branch, "if_exists": command.if_exists}
    return _another(task, by, Change.PUSH, wanted)


def _another(task: Standing, by: Principal, change: Change, push: dict[str, Any] | None) -> Decision:
    """The next attempt; after an end that is not known it waits until the worker is seen to be without the last one."""
    _need_room(task)
    fields = {**requeued(None, None), "push": push, "resume": None}
    if task.status is Status.UNKNOWN:
        del fields["claim"]
        fields.update(BLOCKED)
    return Decision(
        change=change,
        guard=Guard(statuses=frozenset({task.status}), managed_by=by.names),
        fields=fields,
        attempt={"ended_at": Kept("attempt.ended_at", _LAST_WORD), "outcome": Kept("attempt.outcome", "lost")},
        closes_attempt=True,
    )


def _need_room(task: Standing) -> None:
    """Raises Conflict: all that is known of the task is nearly as much as the database holds of one."""
    if task.size_bytes > FULL_BYTES:
        raise Conflict(message("task_full", limit=FULL_BYTES // 1024 // 1024), reason="TaskFull")


def _accept(task: Standing, by: Principal) -> Decision | None:
    if task.status not in sources(Change.ACCEPT):
        return None
    return Decision(
        change=Change.ACCEPT,
        guard=from_sources(Change.ACCEPT, managed_by=by.names),
        fields={"reason": "Accepted", **fields_of(message("task_accepted_by", who=by.name)), "ended_at": NOW},
        attempt={"outcome": "succeeded", "ended_at": _LAST_WORD},
    )


def _input(task: Standing, command: Input, by: Principal) -> Decision | None:
    if task.status is Status.SUSPENDED:
        return _answer(task, command, by)
    if task.status not in STARTED:
        return None
    if task.inputs >= INPUTS_LIMIT:
        raise Conflict(message("task_many_inputs", limit=INPUTS_LIMIT), reason="TaskFull")
    _need_room(task)
    entry = {"number": NextNumber("input"), "text": command.text, "at": NOW}
    return Decision(
        change=None,
        guard=Guard(statuses=STARTED, managed_by=by.names, fewer_inputs=INPUTS_LIMIT),
        fields={"input": Appended("input", entry)},
    )


def _answer(task: Standing, command: Input, by: Principal) -> Decision | None:
    """The next attempt, which resumes the coding agent's session with the answer."""
    if task.attempt is None:
        return None
    _need_room(task)
    entry = {"number": NextNumber("input"), "text": command.text, "at": NOW}
    guard = Guard(statuses=frozenset({Status.SUSPENDED}), attempt=task.attempt.number, managed_by=by.names)
    return Decision(
        change=Change.ANSWER,
        guard=guard,
        fields={**requeued(None, None), **resumption(task.attempt, task.inputs, Appended("input", entry))},
        closes_attempt=True,
    )


# When an attempt ended whose end is not known: not after it was given up, which is when the task last changed.
_LAST_WORD = Kept("changed_at")
