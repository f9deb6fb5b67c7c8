"""The values of decisions: known state of a task, guard, and fields to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec

from keruta.domain.lifecycle import ENDED, LEASED, Change, Status, sources, target
from keruta.domain.messages import Message, fields_of
from keruta.domain.task import HistoryEntry, Policy, RetryPolicy


class _Symbol(Enum):
    NOW = "now"
    UNCHECKED = "unchecked"


NOW: Final = _Symbol.NOW  # the database's time when the decision is written
UNCHECKED: Final = _Symbol.UNCHECKED  # a guard does not look at this


class Later(msgspec.Struct, frozen=True):
    """The database's time when the decision is written, and so many seconds more."""

    seconds: float


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value that a field of the task has when the decision is written, or another where it has none."""

    field: str
    otherwise: Any = None


class NextNumber(msgspec.Struct, frozen=True):
    """The number of entries that a list of the task has when the decision is written, plus one."""

    field: str


class Counted(msgspec.Struct, frozen=True):
    """The number that a field holds when the decision is written, or 0, and one more."""

    field: str


class Appended(msgspec.Struct, frozen=True):
    """The list that a field holds when the decision is written, with one more entry, made of values like these."""

    field: str
    entry: Mapping[str, Any]


class Extended(msgspec.Struct, frozen=True):
    """The list that a field holds when the decision is written, or none, with more entries."""

    field: str
    more: Sequence[Any]


# Besides these, a value is what it is, however it looks: text that begins with `$` is text.
Fields = Mapping[str, Any]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Known state of a task's current attempt.

    Args:
        pushes: the earlier attempt whose kept work it pushes; it runs no script then.
        resumes: the earlier attempt whose coding agent's session it resumes.
        script_exit_code: how its script's container ended, where its worker reported that.
        image_id: what the cluster has resolved its script's image to, where its worker reported that.
    """

    number: int
    id: str
    worker: str
    execution: str | None = None
    outcome: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pushes: int | None = None
    resumes: int | None = None
    script_exit_code: int | None = None
    image_id: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Known state of a task when an event concerns it.

    Args:
        attempt: the current one; None in the queue and before the first.
        holder: the worker that has the attempt, as long as it may be at work on it.
        inputs: how many lines people have sent to the current attempt.
        managers: the names of those who may decide about the task.
        work_kept_by: the number of the attempt whose work is kept, and can be pushed.
        size_bytes: of all that is stored of it.
        question: what its script wants to know, or wanted when the attempt was given up.
        uncounted: how many of its attempts do not count against `retry.max_attempts`: each was resumed.
    """

    id: str
    status: Status
    attempt: Attempt | None = None
    retry: RetryPolicy = RetryPolicy()
    cancel_requested: bool = False
    lane: Mapping[str, str] = {}
    holder: str | None = None
    inputs: int = 0
    readers: Sequence[str] = ()
    managers: Sequence[str] = ()
    history: Sequence[HistoryEntry] = ()
    work_kept_by: int | None = None
    size_bytes: int = 0
    question: str | None = None
    uncounted: int = 0

    @property
    def tries(self) -> int:
        """Return the number of attempts that count against `retry.max_attempts`."""
        return self.attempt.number - self.uncounted if self.attempt is not None else 0

    @property
    def policy(self) -> Policy:
        """The policy for repeating this attempt.

        A push may always be repeated, since its own earlier pushes are known.
        """
        return "always" if self.attempt is not None and self.attempt.pushes is not None else self.retry.policy

    def attempt_of(self, number: int) -> Attempt | None:
        """The current attempt, if it has this number."""
        return self.attempt if self.attempt is not None and self.attempt.number == number else None


class LogSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A log's length up to the end of some chunks, and the text of its last lines."""

    next_sequence: int
    size_bytes: int
    tail: bytes


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions under which a decision is written. If one does not hold, nothing is written.

    Args:
        statuses: the task has one of these.
        attempt: the number of the current attempt.
        execution: of the current attempt; None means that none is on record.
        not_cancelled: no person has asked for its cancellation.
        lease_over: its lease has run out.
        managed_by: one of these names may see the task, and one may decide about it.
        fewer_inputs: fewer than so many lines were sent to it.
        draws_on: an entry of the catalog that it needs.
        claimable: it may be claimed now: it waits for no time and for no worker.
        answer_late: the time for an answer has passed.
    """

    statuses: frozenset[Status]
    attempt: int | _Symbol = UNCHECKED
    execution: str | _Symbol | None = UNCHECKED
    not_cancelled: bool = False
    lease_over: bool = False
    managed_by: Sequence[str] | None = None
    fewer_inputs: int | None = None
    draws_on: str | None = None
    claimable: bool = False
    answer_late: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One write, made if its guard holds.

    Args:
        change: the change of status; None where the status stays.
        fields: what is set of the task.
        attempt: what is set of its current attempt.
        closes_attempt: the current attempt, as it is then, is put with the earlier ones, and the task has none.
        opens_attempt: the task gets a new attempt, of the next number, with what is set of it and nothing else.
    """

    change: Change | None
    guard: Guard
    fields: Fields = {}
    attempt: Fields = {}
    closes_attempt: bool = False
    opens_attempt: bool = False

    @property
    def removed(self) -> tuple[str, ...]:
        """Fields that are of no use in the new status."""
        return removed_by(self.change) if self.change is not None else ()


def removed_by(change: Change) -> tuple[str, ...]:
    """The fields of a task that a change of status removes; each is there only while it matters."""
    to = target(change)
    gone: list[str] = []
    if to not in LEASED:
        gone.append("lease_until")
        if to is not Status.UNKNOWN:
            gone.append("holder")
    if change in (Change.ASSIGN, Change.CANCEL, Change.REFUSE):
        gone += ["claim", "not_before", "blocked_by"]
    if change in (Change.ANSWER, Change.CANCEL, Change.EXPIRE):
        gone.append("answer_until")
    if to in ENDED:
        gone.append("draws_on")
    return tuple(gone)


def from_sources(change: Change, **more: Any) -> Guard:
    """The guard of a change: the statuses from which it may be made, and what more must hold."""
    return Guard(statuses=frozenset(Status(one) for one in sources(change)), **more)


def requeued(reason: str | None, message: Message | None, *, wait_seconds: float = 0) -> dict[str, Any]:
    """Return the fields of a task that goes back to the queue and may be claimed, now or after a while."""
    return {
        "reason": reason,
        **fields_of(message),
        "exit_code": None,
        "question": None,
        "ended_at": None,
        "draws_on": Kept("named"),
        "cancel_requested_at": None,
        "input": [],
        "log": None,
        **({"not_before": Later(wait_seconds)} if wait_seconds > 0 else {"claim": Kept("lane")}),
    }


def resumption(
    attempt: Attempt, passed: int = 0, inputs: Kept | Appended | None = None, *, counted: bool = False
) -> dict[str, Any]:
    """Return the fields of a task whose next attempt resumes the session that this attempt's coding agent had.

    Args:
        passed: how many of the inputs the coding agent has had.
        inputs: what people sent to it.
        counted: whether this attempt counts against `retry.max_attempts`.
    """
    return {
        "resume.attempt": attempt.number,
        "resume.question": Kept("question"),
        "resume.passed": passed,
        "resume.input": inputs if inputs is not None else [],
        **({} if counted else {"uncounted": Counted("uncounted")}),
        "push": None,
    }


# A task whose attempt may still be at work: the next one waits until its worker no longer has it.
BLOCKED: Fields = {"blocked_by.worker": Kept("attempt.worker"), "blocked_by.attempt": Kept("attempt.id")}
