"""The table of changes, as a full product."""

from __future__ import annotations

import pytest

from keruta.domain.lifecycle import (
    ENDED,
    HELD,
    LEASED,
    NOT_STARTED,
    OPEN,
    STARTED,
    TRANSITIONS,
    Change,
    Status,
    sources,
)

S, C = Status, Change
ALLOWED = {
    C.ASSIGN: ({S.QUEUED}, S.ASSIGNED),
    C.PREPARE: ({S.ASSIGNED}, S.PREPARING),
    C.START: ({S.ASSIGNED, S.PREPARING}, S.RUNNING),
    C.ASK: ({S.RUNNING, S.UNKNOWN}, S.WAITING),
    C.RESUME: ({S.WAITING, S.UNKNOWN}, S.RUNNING),
    C.SUSPEND: ({S.WAITING}, S.SUSPENDED),
    C.ANSWER: ({S.SUSPENDED, S.WAITING}, S.QUEUED),
    C.EXPIRE: ({S.SUSPENDED}, S.FAILED),
    C.SUCCEED: ({S.RUNNING, S.WAITING, S.UNKNOWN}, S.SUCCEEDED),
    C.FAIL: ({S.ASSIGNED, S.PREPARING, S.RUNNING, S.WAITING, S.UNKNOWN}, S.FAILED),
    C.END_CANCELLED: ({S.ASSIGNED, S.PREPARING, S.RUNNING, S.WAITING, S.UNKNOWN}, S.CANCELLED),
    C.RETRY: ({S.ASSIGNED, S.PREPARING, S.RUNNING, S.WAITING, S.UNKNOWN}, S.QUEUED),
    C.LOSE: ({S.RUNNING, S.WAITING}, S.UNKNOWN),
    C.CANCEL: ({S.QUEUED, S.SUSPENDED, S.UNKNOWN}, S.CANCELLED),
    C.REFUSE: ({S.QUEUED}, S.FAILED),
    C.RERUN: ({S.UNKNOWN, S.FAILED, S.CANCELLED}, S.QUEUED),
    C.ACCEPT: ({S.UNKNOWN}, S.SUCCEEDED),
    C.PUSH: ({S.UNKNOWN, S.FAILED, S.CANCELLED}, S.QUEUED),
}


@pytest.mark.parametrize("change", list(Change))
@pytest.mark.parametrize("status", list(Status))
def test_every_status_and_change(status: Status, change: Change) -> None:
    """The changes in the table are allowed, and no others."""
    froms, to = ALLOWED[change]

    assert TRANSITIONS.get((status, change)) == (to if status in froms else None)


def test_a_success_is_for_ever() -> None:
    """Nothing leads out of it: no task runs to success twice."""
    assert not [change for (status, change) in TRANSITIONS if status is Status.SUCCEEDED]


def test_only_what_provably_never_started_can_start() -> None:
    assert set(sources(Change.START)) == NOT_STARTED


def test_the_groups_part_the_statuses() -> None:
    assert set(Status) == ENDED | OPEN
    assert LEASED == NOT_STARTED | STARTED
    assert not ENDED & OPEN


def test_who_counts_as_running() -> None:
    """A task whose end is not known, or that waits for a person, holds no slot."""
    assert {S.ASSIGNED, S.PREPARING, S.RUNNING, S.WAITING} == LEASED
    assert LEASED | {S.UNKNOWN} == HELD
