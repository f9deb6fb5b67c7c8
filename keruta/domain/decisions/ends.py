"""Decisions about a task when its attempt has ended, or its agent can't say how."""

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
    Kept,
    Standing,
    from_sources,
    requeued,
    resumption,
)
from keruta.domain.lifecycle import ENDED, Change, sources
from keruta.domain.messages import Message, fields_of, message, status_word
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    KEPT_WORK,
    Ended,
    Left,
    Lost,
    Outcome,
    ScriptEnded,
    ScriptResults,
    Suspended,
    refused,
)
from keruta.domain.retry import RESUMED, may_retry

REPEAT = Outcome(accepted=True, repeat=True)
STALE = refused("StaleAttempt", message("attempt_not_current"))


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


_END_CHANGES = {"succeeded": Change.SUCCEED, "failed": Change.FAIL, "cancelled": Change.END_CANCELLED}


def script_ended(task: Standing, attempt: Attempt, entry: ScriptEnded, sender: Sender) -> Decision | Outcome:
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


def left(task: Standing, attempt: Attempt, entry: Left) -> Decision | Outcome:
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
        attempt=left_by(task, entry),
    )


def left_by(task: Standing, entry: Left | Suspended) -> dict[str, Any]:
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


def ended(task: Standing, attempt: Attempt, entry: Ended, now: Circumstances) -> Decision | Outcome:
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


def lost(task: Standing, attempt: Attempt, entry: Lost) -> Decision | Outcome:
    """The agent can't say how the script ended. What may run again does; the rest waits for a person."""
    if attempt.execution != entry.execution:
        return REPEAT
    again = task.policy == "always" and task.tries < task.retry.max_attempts and not task.cancel_requested
    if again and task.status in sources(Change.RETRY):
        told = message("attempt_machine_down_retried")
        left = {"ended_at": NOW, "reason": "EndNotKnown", **fields_of(told), "outcome": "retried"}
        return _retried(attempt, "EndNotKnown", told, left)
    if task.status not in sources(Change.LOSE):
        return REPEAT
    return Decision(
        change=Change.LOSE,
        guard=from_sources(Change.LOSE, attempt=attempt.number, execution=entry.execution),
        fields={"reason": "EndNotKnown", **fields_of(message("attempt_machine_down"))},
    )


def _retried(
    attempt: Attempt, reason: str | None, told: Message | None, left: dict[str, Any], *, wait_seconds: float = 0.0
) -> Decision:
    return Decision(
        change=Change.RETRY,
        guard=from_sources(Change.RETRY, attempt=attempt.number, execution=attempt.execution, not_cancelled=True),
        fields=requeued(reason, told, wait_seconds=wait_seconds),
        attempt=left,
        closes_attempt=True,
    )
