"""Takes what agents report: chunks before state, task by task, one outcome per entry; and says what is whose."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keruta import metrics
from keruta.domain import permissions
from keruta.domain.catalog.circuits import BLAMED
from keruta.domain.decisions.ends import Circumstances
from keruta.domain.decisions.reports import (
    ACCEPTED,
    not_theirs,
    on_chunk,
    on_renewal,
    on_report,
    summary_of,
)
from keruta.domain.decisions.values import Decision, LogSummary, Standing
from keruta.domain.lifecycle import Change
from keruta.domain.messages import EMPTY, message
from keruta.domain.naming import attempt_id
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    AnyEntry,
    Assigned,
    Ended,
    Held,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Registration,
    Report,
    ReportAnswer,
    Running,
    Suspended,
    refused,
)
from keruta.domain.retry import backoff_seconds
from keruta.domain.specification import Specification
from keruta.errors import Forbidden, NotFound
from keruta.ports import AssignmentStore, Changed, Circuits, LogStore, Nudges, ReportStore
from keruta.services.changes import TaskPorts, settle, tell
from keruta.services.scheduler import assign

log = logging.getLogger(__name__)

LATE = refused("AttemptEnded", message("attempt_over"))
BROKEN = refused("InternalError", message("attempt_entry_failed"))
_ENDS = {Change.SUCCEED, Change.FAIL, Change.END_CANCELLED}
_JITTER = random.SystemRandom()


class ReportPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that reports need."""

    changes: TaskPorts
    store: ReportStore
    logs: LogStore
    circuits: Circuits
    assignment: AssignmentStore
    nudges: Nudges
    lease_seconds: float
    log_limit_bytes: int
    suspend_seconds: float = 14 * 86400.0


# ------------------------------------------------------------ workers


def register(ports: ReportPorts, worker: str, registration: Registration) -> str:
    """Make a worker known, and give it tasks. Its earlier sessions are void. Returns the new session's id."""
    session = ports.store.register(worker, registration)
    if registration.slots:
        assign(ports.assignment, ports.changes.outbox, ports.nudges, only=worker)
    return session


def leave(ports: ReportPorts, sender: Sender, worker: str) -> None:
    """Let a worker go for good; what it had is another's at the next tick. Raises Forbidden, Unauthenticated."""
    if sender.worker != worker:
        raise Forbidden(message("worker_other_session"))
    ports.store.leave(sender)


def over(ports: ReportPorts, sender: Sender, attempts: Sequence[str]) -> list[str]:
    """Return which of these attempts are no task's current one, or have ended. Raises Forbidden."""
    if sender.worker is None:
        raise Forbidden(message("worker_only"))
    return ports.store.over(attempts)


def specification(ports: ReportPorts, sender: Sender, task_id: str, number: int) -> Specification:
    """Return what a task's current attempt is to do. Raises NotFound; Forbidden: it is another worker's."""
    task = ports.changes.tasks.standing(task_id)
    attempt = task.attempt_of(number) if task is not None else None
    if attempt is None:
        raise NotFound(message("attempt_missing"))
    if sender.attempt not in (None, attempt.id) or (sender.worker and sender.worker != attempt.worker):
        raise Forbidden(message("attempt_other_worker"))
    found = ports.store.specification(task_id, number)
    if found is None:
        raise NotFound(message("attempt_missing"))
    return found


# ------------------------------------------------------------ reports


def take_report(ports: ReportPorts, sender: Sender, report: Report) -> ReportAnswer:
    """Apply a report, and give a worker with a free slot what waits for it.

    Raises:
        Unauthenticated: another registration has taken this session's place.
        Unavailable.
    """
    freed = any(isinstance(entry, Ended | Lost | Suspended) for entry in report.entries)
    answer = apply(ports, sender, report, fill=freed)
    idle = not report.entries and not any(one.specification for one in answer.assigned)
    if idle and sender.worker is not None and _fill(ports, sender.worker):
        return msgspec.structs.replace(answer, assigned=ports.store.assigned(sender, report.held))
    return answer


def _fill(ports: ReportPorts, worker: str) -> int:
    """Assign what waits to a worker's free slots. Returns how many tasks were assigned."""
    return assign(ports.assignment, ports.changes.outbox, ports.nudges, only=worker)


def apply(ports: ReportPorts, sender: Sender, report: Report, *, fill: bool = False) -> ReportAnswer:
    """Apply or refuse every entry, and renew what is held.

    Args:
        fill: before the answer is made, assign what waits to the sender's free slots, if it is a worker.
    """
    ids = {entry.task for entry in report.entries} | {held.task for held in report.held}
    renew, tasks = ports.store.receive(sender, ids)
    outcomes: list[Outcome | None] = [None] * len(report.entries)
    by_task: dict[str, list[int]] = {}
    for number, entry in enumerate(report.entries):
        by_task.setdefault(entry.task, []).append(number)
    _store_chunks(ports, sender, report.entries, tasks, outcomes)
    for task_id, numbers in by_task.items():
        try:
            _apply_task(ports, sender, tasks.get(task_id), report.entries, numbers, outcomes)
        except (ValueError, TypeError):  # one bad entry is its own outcome, never the batch's end
            log.exception("entry not applied", extra={"action": "entry_failed", "task": task_id})
    _note_successes(ports, report.entries, outcomes, tasks)
    if renew:
        _renew(ports, sender, report.held, tasks)
    if fill and sender.worker is not None:
        _fill(ports, sender.worker)
    assigned: list[Assigned] = ports.store.assigned(sender, report.held)
    for outcome in outcomes:
        if outcome is not None and not outcome.accepted:
            metrics.REPORTS_REFUSED.labels(reason=outcome.reason or "").inc()
    return ReportAnswer(outcomes=[outcome or BROKEN for outcome in outcomes], assigned=assigned)


def _store_chunks(
    ports: ReportPorts,
    sender: Sender,
    entries: Sequence[AnyEntry],
    tasks: Mapping[str, Standing],
    outcomes: list[Outcome | None],
) -> None:
    chunks: dict[tuple[str, int, int], tuple[int, LogChunk]] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, LogChunk):
            outcomes[number] = on_chunk(tasks.get(entry.task), entry, sender, ports.log_limit_bytes)
            if outcomes[number] is ACCEPTED:
                chunks[entry.task, entry.attempt, entry.sequence] = number, entry
    late = {key: one for key, one in chunks.items() if permissions.attempt_is_over(tasks[one[1].task].status)}
    known = ports.logs.known([chunk for _, chunk in late.values()]) if late else []
    there = {(chunk.task, chunk.attempt, chunk.sequence) for chunk in known}
    for key, (number, _) in late.items():  # after the end what is on record may be repeated, and nothing added
        outcomes[number] = Outcome(accepted=True, repeat=True) if key in there else LATE
        del chunks[key]
    if chunks:
        for repeated in ports.logs.store([chunk for _, chunk in chunks.values()]):
            outcomes[chunks[repeated.task, repeated.attempt, repeated.sequence][0]] = Outcome(
                accepted=True, repeat=True
            )


def _apply_task(
    ports: ReportPorts,
    sender: Sender,
    task: Standing | None,
    entries: Sequence[AnyEntry],
    numbers: Sequence[int],
    outcomes: list[Outcome | None],
) -> None:
    """Apply the entries of one task, in order; what its chunks say of the log goes with the first update."""
    stored = [n for n in numbers if isinstance(entries[n], LogChunk) and (o := outcomes[n]) is not None and o.accepted]
    chunks: list[Any] = [entries[n] for n in stored]
    summary = summary_of(chunks)
    states = [n for n in numbers if not isinstance(entries[n], LogChunk)]
    for position, number in enumerate(states):
        entry = entries[number]
        follower = entries[states[position + 1]] if position + 1 < len(states) else None
        if _said_by_the_start(task, entry, follower, sender):
            outcomes[number] = ACCEPTED
            continue
        verdict = _apply_entry(ports, sender, task, entry, summary)
        if isinstance(verdict, Changed):
            task, summary, outcomes[number] = verdict.task, None, ACCEPTED
        else:
            outcomes[number] = verdict
    if summary is not None:
        ports.logs.note(chunks[0].task, chunks[0].attempt, summary)


def _said_by_the_start(task: Standing | None, entry: AnyEntry, follower: AnyEntry | None, sender: Sender) -> bool:
    """A start that follows at once sets the time of the preparation, too: one update instead of two."""
    return (
        isinstance(entry, Preparing)
        and isinstance(follower, Running)
        and follower.attempt == entry.attempt
        and not_theirs(task, entry, sender) is None
    )


def _apply_entry(
    ports: ReportPorts, sender: Sender, known: Standing | None, entry: AnyEntry, summary: LogSummary | None
) -> Changed | Outcome:
    tasks = ports.changes.tasks

    def decide(task: Standing | None) -> Decision | Outcome:
        return on_report(task, entry, sender, _circumstances(ports, task, entry))

    verdict: Changed | Outcome = settle(
        lambda: tasks.standing(entry.task), decide, lambda decision: tasks.write(entry.task, decision, summary), known
    )
    if isinstance(verdict, Changed):
        _told(ports, verdict, entry.attempt)
        if isinstance(entry, Ended) and entry.status == "failed":
            ports.circuits.failed(verdict.task.lane, entry.task, entry.reason or "", entry.said or EMPTY)
    return verdict


def _circumstances(ports: ReportPorts, task: Standing | None, entry: AnyEntry) -> Circumstances:
    if task is None or not isinstance(entry, Ended) or entry.status != "failed":
        return Circumstances(lease_seconds=ports.lease_seconds, suspend_seconds=ports.suspend_seconds)
    return Circumstances(
        lease_seconds=ports.lease_seconds,
        held_back=not entry.script_started and ports.circuits.holds(task.lane, entry.reason or ""),
        backoff_seconds=backoff_seconds(entry.attempt, rng=_JITTER),
    )


def _told(ports: ReportPorts, changed: Changed, attempt: int) -> None:
    """Tell of a change, and count it."""
    tell(ports.changes, changed)
    task = changed.task
    if changed.change is Change.START:
        queued = [entry.at for entry in task.history if entry.status == "queued"]
        if queued:
            metrics.QUEUE_SECONDS.observe((task.history[-1].at - queued[-1]).total_seconds())
    elif changed.change in _ENDS and task.attempt is not None:
        reason = metrics.reason_label(task.attempt.reason)
        metrics.ATTEMPTS_ENDED.labels(status=task.status, reason=reason).inc()
        if task.attempt.started_at and task.attempt.ended_at:
            metrics.RUN_SECONDS.observe((task.attempt.ended_at - task.attempt.started_at).total_seconds())
    log.info("task %s", task.status, extra={"action": f"task_{task.status}", "task": task.id, "attempt": attempt})


def _note_successes(
    ports: ReportPorts,
    entries: Sequence[AnyEntry],
    outcomes: Sequence[Outcome | None],
    tasks: Mapping[str, Standing],
) -> None:
    """Close the circuits of everything used by tasks whose script ran to its own end."""
    ports.circuits.succeeded(
        [
            tasks[entry.task].lane
            for entry, outcome in zip(entries, outcomes, strict=True)
            if isinstance(entry, Ended) and outcome is ACCEPTED and entry.script_started and entry.reason not in BLAMED
        ]
    )
    ports.circuits.answered([
        tasks[entry.task].lane["profile"]
        for entry, outcome in zip(entries, outcomes, strict=True)
        if isinstance(entry, Ended) and outcome is ACCEPTED and entry.usage.get("turns") and entry.reason not in BLAMED
    ])  # fmt: skip


def _renew(ports: ReportPorts, sender: Sender, held: Sequence[Held], tasks: Mapping[str, Standing]) -> None:
    """Extend the leases of what the sender holds, and of nothing else."""
    known = [one for one in held if sender.worker or attempt_id(one.task, one.attempt) == sender.attempt]
    mine = [one for one in known if one.renew]
    for one in mine:
        decision = on_renewal(tasks.get(one.task), one, sender, ports.lease_seconds)
        changed = ports.changes.tasks.write(one.task, decision) if decision is not None else None
        if changed is not None:
            _told(ports, changed, one.attempt)
    if mine:
        ports.store.renew(sender, [attempt_id(one.task, one.attempt) for one in mine])
    if sender.worker:
        ports.store.unblock(sender.worker, [attempt_id(one.task, one.attempt) for one in known])
