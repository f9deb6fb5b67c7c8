"""Decisions about a task when its agent reports.

Every decision is guarded by the attempt's number and, once there is one, its execution. What needs no write is the
entry's outcome: a repeat of what is on record, or a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keruta.domain.decisions.ends import REPEAT, STALE, Circumstances, ended, left, left_by, lost, script_ended
from keruta.domain.decisions.room import FULL_BYTES
from keruta.domain.decisions.values import (
    NOW,
    Attempt,
    Decision,
    Extended,
    Guard,
    Kept,
    Later,
    LogSummary,
    Standing,
    from_sources,
    requeued,
    resumption,
)
from keruta.domain.lifecycle import ENDED, NOT_STARTED, Change, Status, sources
from keruta.domain.messages import fields_of, message
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    TAIL_LIMIT_BYTES,
    AnyEntry,
    Ended,
    Held,
    ImageSeen,
    Left,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Pushing,
    Resumed,
    Running,
    ScriptEnded,
    Suspended,
    Waiting,
    refused,
)

ACCEPTED = Outcome(accepted=True)
LOG_SLACK_BYTES = TAIL_LIMIT_BYTES * 32  # the agent's own last words come after a log that is full


def not_theirs(task: Standing | None, entry: AnyEntry | Held, sender: Sender) -> Outcome | None:
    """Return a refusal of the entry: no such task, no longer the current attempt, or another worker's; or None."""
    if task is None:
        return refused("NoSuchTask", message("task_missing"))
    attempt = task.attempt_of(entry.attempt)
    if attempt is None:
        return STALE
    if (sender.worker and attempt.worker != sender.worker) or (sender.attempt and attempt.id != sender.attempt):
        return refused("NotYours", message("attempt_not_senders"))
    return None


def on_chunk(task: Standing | None, chunk: LogChunk, sender: Sender, limit_bytes: int) -> Outcome:
    """Decide whether a log chunk is stored."""
    if chunk.offset_bytes + len(chunk.data) > limit_bytes + LOG_SLACK_BYTES:
        return refused("LogLimit", message("log_limit", limit=limit_bytes))
    return not_theirs(task, chunk, sender) or ACCEPTED


def summary_of(chunks: Sequence[LogChunk]) -> LogSummary | None:
    """Return what a batch's chunks say of the whole log: how long it is, and its last lines."""
    if not chunks:
        return None
    by_sequence = {chunk.sequence: chunk for chunk in chunks}
    last = by_sequence[max(by_sequence)]
    text = b"".join(by_sequence[number].data for number in sorted(by_sequence) if not by_sequence[number].system)
    return LogSummary(
        next_sequence=last.sequence + 1, size_bytes=last.offset_bytes + len(last.data), tail=text[-TAIL_LIMIT_BYTES:]
    )


def on_report(task: Standing | None, entry: AnyEntry, sender: Sender, now: Circumstances) -> Decision | Outcome:
    """Decide what an entry of a report makes of its task. Log chunks are decided about by `on_chunk`."""
    wrong = not_theirs(task, entry, sender)
    if wrong is not None:
        return wrong
    assert task is not None
    assert task.attempt is not None
    lease = {"lease_until": Later(now.lease_seconds)}
    match entry:
        case Preparing():
            return _preparing(task, task.attempt, lease)
        case Running():
            return _running(task, task.attempt, entry, lease)
        case Waiting():
            return _waiting(task, task.attempt, entry, lease)
        case Resumed():
            return _going_on(task, task.attempt, entry, Change.RESUME, {**lease, "question": None})
        case Suspended():
            return _suspended(task, task.attempt, entry, now)
        case Pushing():
            return _pushing(task, task.attempt, entry)
        case ScriptEnded():
            return script_ended(task, task.attempt, entry, sender)
        case ImageSeen():
            return _image_seen(task.attempt, entry, sender)
        case Left():
            return left(task, task.attempt, entry)
        case Ended():
            return ended(task, task.attempt, entry, now)
        case Lost():
            return lost(task, task.attempt, entry)
    raise TypeError(f"no such entry: {entry!r}")


def on_renewal(task: Standing | None, held: Held, sender: Sender, lease_seconds: float) -> Decision | None:
    """Decide what a heartbeat makes of a task whose attempt was given up: it goes on, or waits with its question.

    Only whose attempt it is brings it back: after a handover that is its new worker, and no longer the one before.
    """
    if task is None or task.status is not Status.UNKNOWN or not_theirs(task, held, sender) is not None:
        return None
    return Decision(
        change=Change.RESUME if task.question is None else Change.ASK,
        guard=Guard(statuses=frozenset({Status.UNKNOWN}), attempt=held.attempt, execution=held.execution),
        fields={"reason": None, **fields_of(None), "lease_until": Later(lease_seconds)},
    )


def _preparing(task: Standing, attempt: Attempt, lease: dict[str, Any]) -> Decision | Outcome:
    if task.status is not Status.ASSIGNED:
        return REPEAT
    return Decision(
        change=Change.PREPARE,
        guard=from_sources(Change.PREPARE, attempt=attempt.number),
        fields=lease,
        attempt={"preparing_at": NOW},
    )


def _running(task: Standing, attempt: Attempt, entry: Running, lease: dict[str, Any]) -> Decision | Outcome:
    """The start is recorded once: the same execution is a repeat, another is refused and starts nothing."""
    if attempt.execution is not None:
        if attempt.execution == entry.execution and task.status not in ENDED:
            return REPEAT
        return refused("AlreadyStarted", message("attempt_started_elsewhere"))
    if task.cancel_requested:
        return refused("Cancelled", message("attempt_cancelled_before_start"))
    if task.status not in NOT_STARTED:
        return STALE
    return Decision(
        change=Change.START,
        guard=from_sources(Change.START, attempt=attempt.number, execution=None, not_cancelled=True),
        fields=lease,
        attempt={
            "execution": entry.execution,
            "commit": entry.commit,
            "started_at": NOW,
            "preparing_at": Kept("attempt.preparing_at", NOW),
            "profile_revision": entry.profile_revision,
            "image": entry.image,
            "notes": [note.text for note in entry.said],
            "noted": [fields_of(note) for note in entry.said],
        },
    )


def _image_seen(attempt: Attempt, entry: ImageSeen, sender: Sender) -> Decision | Outcome:
    """The first word on the image stays, also after the end: a short script is over before the cluster shows it.

    Its worker's alone counts, as the agent does not see its own Pod.
    """
    if sender.worker is None:
        return refused("NotYours", message("attempt_not_senders"))
    if attempt.image_id is not None:
        return REPEAT
    guard = Guard(statuses=frozenset(Status), attempt=attempt.number)
    return Decision(change=None, guard=guard, attempt={"image_id": entry.image_id})


def _waiting(task: Standing, attempt: Attempt, entry: Waiting, lease: dict[str, Any]) -> Decision | Outcome:
    """A question is kept of whatever attempt asks it: one that was given up waits with it, and another replaces it."""
    new = entry.question != (task.question or "")
    if new and task.status is Status.WAITING and attempt.execution == entry.execution:
        guard = Guard(statuses=frozenset({Status.WAITING}), attempt=attempt.number, execution=entry.execution)
        return Decision(change=None, guard=guard, fields={**lease, "question": entry.question})
    return _going_on(task, attempt, entry, Change.ASK, {**lease, "question": entry.question})


def _going_on(
    task: Standing, attempt: Attempt, entry: Waiting | Resumed, change: Change, fields: dict[str, Any]
) -> Decision | Outcome:
    if attempt.execution != entry.execution:
        return STALE
    if task.status not in sources(change):
        return REPEAT
    guard = from_sources(change, attempt=attempt.number, execution=entry.execution)
    gone = {"reason": None, **fields_of(None)} if task.status is Status.UNKNOWN else {}
    return Decision(change=change, guard=guard, fields={**fields, **gone})


def _suspended(task: Standing, attempt: Attempt, entry: Suspended, now: Circumstances) -> Decision | Outcome:
    """The attempt ends, and its session is stored. What a person sent meanwhile goes to the coding agent first.

    Where that has ended with its question, an answer that is there already begins the next attempt at once.
    """
    if attempt.execution != entry.execution:
        return STALE
    if attempt.outcome == "suspended":
        return REPEAT
    if task.status not in sources(Change.SUSPEND) or task.cancel_requested:
        return refused("NotWaiting", message("attempt_not_waiting"))
    answered = task.inputs > entry.input_acknowledged
    if answered and not entry.over:
        return refused("InputPending", message("attempt_input_pending"))
    guard = Guard(
        statuses=frozenset({Status.WAITING}), attempt=attempt.number, execution=entry.execution, not_cancelled=True,
        fewer_inputs=None if answered else entry.input_acknowledged + 1,
    )  # fmt: skip
    session = {**left_by(task, entry), "outcome": "suspended", "granted": msgspec.to_builtins(entry.granted)}
    session |= {"ended_at": NOW, **({"commit": entry.commit} if entry.commit else {})}
    if answered:
        fields = {**requeued(None, None), **resumption(attempt, entry.input_acknowledged, Kept("input"))}
        return Decision(change=Change.ANSWER, guard=guard, fields=fields, attempt=session, closes_attempt=True)
    fields = {"question": entry.question, "answer_until": Later(now.suspend_seconds)}
    return Decision(change=Change.SUSPEND, guard=guard, fields=fields, attempt=session)


def _pushing(task: Standing, attempt: Attempt, entry: Pushing) -> Decision | Outcome:
    """The push is on record before it is made. An attempt that is no longer wanted may not push."""
    if attempt.execution != entry.execution or task.status not in sources(Change.FAIL):
        return STALE
    if task.size_bytes > FULL_BYTES:
        return refused("TaskFull", message("task_full", limit=FULL_BYTES // 1024 // 1024))
    told = {"branch": entry.branch, "commit": entry.commit}
    return Decision(
        change=None,
        guard=from_sources(Change.FAIL, attempt=attempt.number, execution=entry.execution),
        attempt={"pushing": Extended("attempt.pushing", [told])},
    )
