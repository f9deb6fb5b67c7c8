"""Reasons that a task waits, by the limits and counts of the scheduler's plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.lifecycle import Status
from keruta.domain.messages import Message, kind_word, message, read_message, reason_word
from keruta.domain.scheduling import Bound, Lane, Limits, Running, bounds


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that somebody has paused; both are empty for who may not read the queue."""

    by: str = ""
    reason: str = ""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that decide whether a task can be assigned.

    Args:
        running, limits: as the plan counts and limits; both need to cover this lane only.
        pause: of the lane's queue.
        circuits: those of the lane's queue, repository and profile that are open.
        slots: of each worker that is there; None for one that is being drained.
        free: how many of these are not in use, by the assignment's own count.
    """

    lane: Lane
    running: Running
    limits: Limits
    pause: Pause | None = None
    circuits: Sequence[CircuitView] = ()
    slots: Sequence[int | None] = ()
    free: int = 0


def why_not_claimed(
    status: Status, reason: str | None, not_before: datetime | None, *, last_attempt_held: bool
) -> Message:
    """Say why a task may not be assigned now.

    Args:
        reason: why the last attempt failed.
        not_before: when it is tried again.
        last_attempt_held: the last attempt may still be at work.
    """
    if status is Status.UNKNOWN:
        return message("waiting_unknown")
    if status is Status.SUSPENDED:
        return message("waiting_suspended")
    if not_before is not None:
        return message("waiting_backoff", reason=reason_word(reason), at=_clock(not_before))
    if last_attempt_held:
        return message("waiting_last_attempt")
    return message("waiting_for_assignment")


def why_not_assigned(around: Surroundings, position: int = 0) -> Message:
    """Say why a task that may be assigned is not: its lane is held back, or no slot is free for it.

    Args:
        position: how many tasks of its lane come before it.
    """
    for bound in bounds(around.lane, around.running, around.limits):
        if bound.room <= 0:
            return _held_back(bound, around)
    if not around.slots:
        return message("waiting_no_worker")
    slots = sum(count for count in around.slots if count is not None)
    if not slots:
        return message("waiting_drained")
    if around.free > position:
        return message("waiting_for_assignment")
    return message("waiting_for_slot", slots=slots, workers=len(around.slots))


def _held_back(bound: Bound, around: Surroundings) -> Message:
    if bound.kind == "queue" and around.pause is not None:
        pause = around.pause
        if not pause.by:
            return message("waiting_paused_unsaid", queue=around.lane.queue)
        return message("waiting_paused", queue=around.lane.queue, who=pause.by, reason=pause.reason)
    if bound.kind == "budget":
        return message("waiting_budget", queue=around.lane.queue)
    if bound.kind == "submitter_budget":
        return message("waiting_submitter_budget", queue=around.lane.queue)
    for circuit in around.circuits:
        if circuit.kind == bound.kind:
            return _circuit_open(circuit)
    return message("waiting_limit", kind=kind_word(bound.kind), limit=bound.limit, running=bound.running)


def _circuit_open(circuit: CircuitView) -> Message:
    """Say that what a task draws on keeps failing, and what its last task said where the reader may know it."""
    kind, reason = kind_word(circuit.kind), reason_word(circuit.reason)
    at = _clock(circuit.probe_at) if circuit.probe_at is not None else "–"
    if not circuit.last_task:
        return message(
            "waiting_circuit_unsaid", kind=kind, name=circuit.name, failures=circuit.failures, reason=reason, at=at
        )
    said = read_message(circuit.message, circuit.message_code, circuit.message_arguments)
    return message(
        "waiting_circuit", kind=kind, name=circuit.name, failures=circuit.failures, reason=reason, at=at,
        message=said if said.code else said.text,
    )  # fmt: skip


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
