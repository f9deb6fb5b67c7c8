"""Decisions about a task when its agent reports.

Every decision is guarded by the attempt's number and, once there is one, its execution. What needs no write is the
entry's outcome: a repeat of what is on record, or a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keruta.domain.decisions.room import FULL_BYTES, listed
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
from keruta.domain.messages import Message, fields_of, message, status_word
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    KEPT_WORK,
    TAIL_LIMIT_BYTES,
    AnyEntry,
    Ended,
    Held,
    Left,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Pushing,
    Resumed,
    Running,
    ScriptEnded,
    ScriptResults,
    Suspended,
    Waiting,
    refused,
)
from keruta.domain.retry import RESUMED, may_retry

ACCEPTED, REPEAT = Outcome(accepted=True), Outcome(accepted=True, repeat=True)
LOG_SLACK_BYTES = TAIL_LIMIT_BYTES * 32  # the agent's own last words come after a log that is full

_END_CHANGES = {"succeeded": Change.SUCCEED, "failed": Change.FAIL, "cancelled": Change.END_CANCELLED}


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """Further facts for a decision about a report.

    Args:
        lease_seconds: how long a task is leased from now.
        held_back: a circuit is open for the reason of the reported failure, or opens with it.
        backoff_seconds: how long a task waits that is tried again.
        suspend_seconds: how long a suspended task waits for its answer.
    """

    lease_seconds: float
    held_back: bool = False
    backoff_seconds: float = 0.0
    suspend_seconds: float = 14 * 86400.0


STALE = refused("StaleAttempt", message("attempt_not_current"))


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
            return _script_ended(task, task.attempt, entry, sender)
        case Left():
            return _left(task, task.attempt, entry)
        case Ended():
            return _ended(task, task.attempt, entry, now)
        case Lost():
            return _lost(task, task.attempt, entry)
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
    left = {**_left_by(task, entry), "outcome": "suspended", "granted": msgspec.to_builtins(entry.granted)}
    left |= {"ended_at": NOW, **({"commit": entry.commit} if entry.commit else {})}
    if answered:
        fields = {**requeued(None, None), **resumption(attempt, entry.input_acknowledged, Kept("input"))}
        return Decision(change=Change.ANSWER, guard=guard, fields=fields, attempt=left, closes_attempt=True)
    fields = {"question": entry.question, "answer_until": Later(now.suspend_seconds)}
    return Decision(change=Change.SUSPEND, guard=guard, fields=fields, attempt=left)


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


def _script_ended(task: Standing, attempt: Attempt, entry: ScriptEnded, sender: Sender) -> Decision | Outcome:
    """The first word on how the script's container ended stays. Its worker's alone counts: only that sees the Pod."""
    if sender.worker is None:
        return refused("NotYours", message("attempt_not_senders"))
    if attempt.execution != entry.execution or task.status not in sources(Change.FAIL):
        return STALE
    if attempt.script_exit_code is not None:
        return REPEAT
    return Decision(
        change=None,
        guard=from_sources(Change.FAIL, attempt=attempt.number, execution=entry.execution),
        attempt={"script_exit_code": entry.exit_code},
    )


def _kept(attempt: Attempt, entry: Left | Ended) -> dict[str, Any]:
    """Return the field that names the attempt whose kept work can be pushed, if this attempt's end changes it."""
    if any(one.path == KEPT_WORK for one in entry.artifacts):
        return {"work_kept_by": attempt.number}
    pushed = isinstance(entry, Ended) and entry.result_branch is not None
    return {"work_kept_by": None} if pushed and attempt.pushes is None else {}


def _left(task: Standing, attempt: Attempt, entry: Left) -> Decision | Outcome:
    """Record the kept results before the end is known.

    The end is reported by another part and leaves them unchanged.
    """
    if attempt.execution != entry.execution:
        return STALE
    if task.status not in sources(Change.FAIL):
        return _already_ended(task, attempt)
    return Decision(
        change=None,
        guard=from_sources(Change.FAIL, attempt=attempt.number, execution=entry.execution),
        fields=_kept(attempt, entry),
        attempt=_left_by(task, entry),
    )


def _left_by(task: Standing, entry: Left | Suspended) -> dict[str, Any]:
    """Return the fields of an attempt for what its script left, whoever tells how it ended."""
    shown = listed(entry, task.size_bytes)
    return {
        "outputs": shown.outputs,
        "usage": entry.usage,
        **_said_by_agent(entry),
        "artifacts": msgspec.to_builtins(shown.artifacts),
        **_more_notes(task, [*entry.told, *shown.said]),
    }


def _already_ended(task: Standing, attempt: Attempt) -> Outcome:
    return refused("AlreadyEnded", message("attempt_on_record", status=status_word(attempt.outcome or task.status)))


def _ended(task: Standing, attempt: Attempt, entry: Ended, now: Circumstances) -> Decision | Outcome:
    same = attempt.execution == entry.execution or (entry.never_started and attempt.execution is None)
    change = _END_CHANGES[entry.status]
    if not entry.script_started and task.cancel_requested:
        change = Change.END_CANCELLED  # it never started, and no one wants it any more
    if same and _goes_on(task, entry):
        wait = max(now.backoff_seconds, entry.retry_after_seconds or 0.0)
        again = _retried(attempt, entry.reason, entry.said, _result(task, entry, "retried"), wait_seconds=wait)
        later = resumption(attempt, counted=not _advanced(entry))
        return msgspec.structs.replace(again, fields={**again.fields, **later, **_kept(attempt, entry)})
    if same and entry.status == "failed" and _tried_again(task, entry, now):
        wait = 0.0 if _held_back(task, entry, now) else max(now.backoff_seconds, entry.retry_after_seconds or 0.0)
        again = _retried(attempt, entry.reason, entry.said, _result(task, entry, "retried"), wait_seconds=wait)
        return msgspec.structs.replace(again, fields={**again.fields, **_kept(attempt, entry)})
    if same and task.status in sources(change):
        return _end(task, attempt, entry, change)
    if same and task.status in ENDED and attempt.outcome == entry.status:
        return REPEAT
    return _already_ended(task, attempt)


def _end(task: Standing, attempt: Attempt, entry: Ended, change: Change) -> Decision:
    told = fields_of(entry.said)
    return Decision(
        change=change,
        guard=from_sources(change, attempt=attempt.number, execution=attempt.execution),
        fields={
            "reason": entry.reason,
            **told,
            "exit_code": entry.exit_code,
            "question": None,
            "ended_at": NOW,
            **_kept(attempt, entry),
        },
        attempt=_result(task, entry, entry.status),
    )


def _result(task: Standing, entry: Ended, outcome: str) -> dict[str, Any]:
    """Return the fields that an ended attempt leaves, whether or not another attempt follows."""
    shown = listed(entry, task.size_bytes)
    return {
        "outcome": outcome,
        "reason": entry.reason,
        **fields_of(entry.said),
        "exit_code": entry.exit_code,
        "signal": entry.signal,
        "result_branch": entry.result_branch,
        "result_commit": entry.result_commit,
        "outputs": shown.outputs or Kept("attempt.outputs", {}),
        "usage": entry.usage or Kept("attempt.usage", {}),
        **_said_by_agent(entry),
        "artifacts": msgspec.to_builtins(shown.artifacts) or Kept("attempt.artifacts", []),
        **({"commit": entry.commit} if entry.commit else {}),
        **({"granted": msgspec.to_builtins(entry.granted)} if entry.granted is not None else {}),
        **_more_notes(task, [*entry.told, *shown.said]),
        "ended_at": NOW,
    }


def _said_by_agent(entry: ScriptResults) -> dict[str, Any]:
    """A coding agent's last text, and its model."""
    return {name: value for name in ("answer", "model") if (value := getattr(entry, name))}


def _more_notes(task: Standing, notes: Sequence[Message]) -> dict[str, Any]:
    if not notes or task.size_bytes > FULL_BYTES:
        return {}
    return {
        "notes": Extended("attempt.notes", [note.text for note in notes]),
        "noted": Extended("attempt.noted", [fields_of(note) for note in notes]),
    }


def _goes_on(task: Standing, entry: Ended) -> bool:
    """Return whether the session is resumed once its model answers again, under every policy.

    An attempt that its model answered has advanced, and does not count.
    """
    if entry.status != "failed" or entry.reason not in RESUMED or entry.granted is None:
        return False
    if task.status not in sources(Change.RETRY) or task.cancel_requested:
        return False
    return _advanced(entry) or task.tries < task.retry.max_attempts


def _advanced(entry: Ended) -> bool:
    return entry.usage.get("turns", 0) > 0


def _tried_again(task: Standing, entry: Ended, now: Circumstances) -> bool:
    """After a while if keruta is to blame, or behind a circuit if what the task draws on fails for all."""
    if task.status not in sources(Change.RETRY) or task.cancel_requested:
        return False
    again = may_retry(
        entry.reason or "",
        policy=task.policy,
        started=entry.script_started,
        attempt=task.tries,
        max_attempts=task.retry.max_attempts,
    )
    return again or _held_back(task, entry, now)


def _held_back(task: Standing, entry: Ended, now: Circumstances) -> bool:
    left = task.tries < task.retry.max_attempts and task.policy != "never"
    return left and not entry.script_started and now.held_back


def _lost(task: Standing, attempt: Attempt, entry: Lost) -> Decision | Outcome:
    """The agent can't say how the script ended. What may run again does; the rest waits for a person."""
    if attempt.execution != entry.execution:
        return REPEAT
    again = task.policy == "always" and task.tries < task.retry.max_attempts and not task.cancel_requested
    if again and task.status in sources(Change.RETRY):
        told = message("attempt_machine_down_retried")
        ended = {"ended_at": NOW, "reason": "EndNotKnown", **fields_of(told), "outcome": "retried"}
        return _retried(attempt, "EndNotKnown", told, ended)
    if task.status not in sources(Change.LOSE):
        return REPEAT
    return Decision(
        change=Change.LOSE,
        guard=from_sources(Change.LOSE, attempt=attempt.number, execution=entry.execution),
        fields={"reason": "EndNotKnown", **fields_of(message("attempt_machine_down"))},
    )


def _retried(
    attempt: Attempt, reason: str | None, told: Message | None, ended: dict[str, Any], *, wait_seconds: float = 0.0
) -> Decision:
    return Decision(
        change=Change.RETRY,
        guard=from_sources(Change.RETRY, attempt=attempt.number, execution=attempt.execution, not_cancelled=True),
        fields=requeued(reason, told, wait_seconds=wait_seconds),
        attempt=ended,
        closes_attempt=True,
    )
