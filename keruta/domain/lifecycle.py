"""A task's life as data: the statuses, and every change between them that there may be.

This is the one place that says what may follow what. The database's conditional updates, the documentation
(`docs/states.md`) and the tests are made from it.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The status of a task."""

    QUEUED = "queued"  # waits for a free slot
    ASSIGNED = "assigned"  # a worker has been chosen; it may not know yet
    PREPARING = "preparing"  # the worker checks out the repository and runs the set-up
    RUNNING = "running"  # the script's start is on record
    WAITING = "waiting"  # the script runs and wants input from a person
    SUSPENDED = "suspended"  # waits for a person; holds no slot and no Pod
    UNKNOWN = "unknown"  # started, then no word: its end is not known; not an end
    SUCCEEDED = "succeeded"  # script and check ended with 0
    FAILED = "failed"  # it ended otherwise; `reason` says how
    CANCELLED = "cancelled"  # a person ended it


ENDED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
NOT_STARTED = frozenset({Status.ASSIGNED, Status.PREPARING})
STARTED = frozenset({Status.RUNNING, Status.WAITING})
# Those that are running, for assignment, for limits, and for the explanation of why a task waits: they hold a slot and
# a lease. A task whose end is not known, or that waits for a person, holds none.
LEASED = NOT_STARTED | STARTED
HELD = LEASED | {Status.UNKNOWN}  # are a worker's own: it may still be at work on them
OPEN = frozenset(Status) - ENDED


class Change(StrEnum):
    """An event that changes a task's status."""

    ASSIGN = "assign"  # the assigner gave it a worker
    PREPARE = "prepare"  # the agent says it has begun
    START = "start"  # the agent asks for the start to be put on record
    ASK = "ask"  # the script wants input; or word came from an attempt that wants it and was given up
    RESUME = "resume"  # it got it; or word came from an attempt that was given up
    SUSPEND = "suspend"  # no answer came for a while: the agent has stored the coding agent's session and ended it
    ANSWER = "answer"  # a person has answered, and nothing of it runs: the next attempt resumes the session
    EXPIRE = "expire"  # nobody has answered for long
    SUCCEED = "succeed"  # the agent reports the end
    FAIL = "fail"
    END_CANCELLED = "end_cancelled"
    REFUSE = "refuse"  # what it draws on was deleted while it waited
    RETRY = "retry"  # ours went wrong, or its lease ran out and it may run again: back to the queue
    LOSE = "lose"  # its lease ran out, or its worker can't say how it ended
    CANCEL = "cancel"  # a person, while nothing runs
    RERUN = "rerun"  # a person wants another attempt
    ACCEPT = "accept"  # a person has looked, and says that it is done
    PUSH = "push"  # a person wants the work that was kept to be pushed


S, C = Status, Change

# (from, change) → to. What is not here is refused.
TRANSITIONS: dict[tuple[Status, Change], Status] = {
    (S.QUEUED, C.ASSIGN): S.ASSIGNED,
    (S.QUEUED, C.CANCEL): S.CANCELLED,
    (S.QUEUED, C.REFUSE): S.FAILED,
    (S.ASSIGNED, C.PREPARE): S.PREPARING,
    **{(s, C.START): S.RUNNING for s in (S.ASSIGNED, S.PREPARING)},
    **{(s, C.ASK): S.WAITING for s in (S.RUNNING, S.UNKNOWN)},
    **{(s, C.RESUME): S.RUNNING for s in (S.WAITING, S.UNKNOWN)},
    (S.WAITING, C.SUSPEND): S.SUSPENDED,
    **{(s, C.ANSWER): S.QUEUED for s in (S.SUSPENDED, S.WAITING)},
    (S.SUSPENDED, C.EXPIRE): S.FAILED,
    **{(s, C.SUCCEED): S.SUCCEEDED for s in (S.RUNNING, S.WAITING, S.UNKNOWN)},
    **{(s, C.FAIL): S.FAILED for s in (*sorted(LEASED), S.UNKNOWN)},
    **{(s, C.END_CANCELLED): S.CANCELLED for s in (*sorted(LEASED), S.UNKNOWN)},
    **{(s, C.RETRY): S.QUEUED for s in (*sorted(LEASED), S.UNKNOWN)},
    **{(s, C.LOSE): S.UNKNOWN for s in (S.RUNNING, S.WAITING)},
    **{(s, C.CANCEL): S.CANCELLED for s in (S.SUSPENDED, S.UNKNOWN)},
    (S.UNKNOWN, C.ACCEPT): S.SUCCEEDED,
    **{(s, C.RERUN): S.QUEUED for s in (S.UNKNOWN, S.FAILED, S.CANCELLED)},
    **{(s, C.PUSH): S.QUEUED for s in (S.UNKNOWN, S.FAILED, S.CANCELLED)},
}

del S, C


_TARGETS = {change: target for (_, change), target in TRANSITIONS.items()}


def target(change: Change) -> Status:
    """Returns the status that a change leads to."""
    return _TARGETS[change]


def sources(change: Change) -> list[str]:
    """Returns the statuses from which a change may be made, sorted."""
    return sorted(source for source, made in TRANSITIONS if made is change)
