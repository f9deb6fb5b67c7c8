"""Turns a decision into one conditional update, and a task's document into what decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keruta.adapters.mongo.logs import log_expression
from keruta.adapters.mongo.tasks import Pipeline, after, events_of, literal, status_change
from keruta.domain.decisions.values import (
    NOW,
    UNCHECKED,
    Appended,
    Attempt,
    Counted,
    Decision,
    Extended,
    Guard,
    Kept,
    Later,
    LogSummary,
    NextNumber,
    Standing,
)
from keruta.domain.lifecycle import ENDED, Change, Status, target
from keruta.domain.task import HistoryEntry, RetryPolicy
from keruta.ports import Changed, Document

STANDING = {
    **dict.fromkeys(["status", "attempt", "cancel_requested_at", "retry", "lane", "holder", "readers", "managers"], 1),
    "work_kept_by": 1,
    "question": 1,
    "uncounted": 1,
    "inputs": {"$size": {"$ifNull": ["$input", []]}},
    "size_bytes": {"$bsonSize": "$$ROOT"},
}
CHANGED = {**STANDING, "outbox": 1, "history": 1}


def update_of(
    task_id: str, decision: Decision, event_id: str, log: LogSummary | None = None
) -> tuple[Document, Pipeline]:
    """Make the filter and the pipeline of a decision.

    Args:
        event_id: the identity of the event that tells of the change of status.
        log: what is known of the log beside it.
    """
    fields = {name: _expression(value) for name, value in decision.fields.items()}
    of_attempt = {name: _expression(value) for name, value in decision.attempt.items()}
    if decision.opens_attempt:
        fields["attempt"] = {**_NEW_ATTEMPT, **of_attempt}
    elif decision.closes_attempt:
        fields |= _closed(of_attempt)
    else:
        fields |= {f"attempt.{name}": value for name, value in of_attempt.items()}
    pipeline = [{"$set": fields}]
    if decision.change is not None:
        pipeline = status_change(decision.change, fields, decision.removed, event_id)
    if decision.opens_attempt:  # counted first, in a stage of its own: attempt, history and event speak of it
        pipeline = [{"$set": {"attempt": None, "attempt_count": {"$add": ["$attempt_count", 1]}}}, *pipeline]
    if log is not None:
        pipeline = [{"$set": {"log": log_expression(log)}}, *pipeline]
    if decision.closes_attempt or (decision.change is not None and target(decision.change) in ENDED):
        pipeline = [*pipeline, {"$set": {"provenance_due": _PROVENANCE_DUE}}]
    return {"_id": task_id, **_filter(decision.guard)}, pipeline


def standing(document: Mapping[str, Any]) -> Standing:
    """Return a decision's input from a document that was read with `STANDING`, `CHANGED` or whole."""
    attempt = document.get("attempt")
    return Standing(
        id=document["_id"],
        status=Status(document["status"]),
        attempt=_attempt(attempt) if attempt else None,
        retry=RetryPolicy(**document["retry"]),
        cancel_requested=document.get("cancel_requested_at") is not None,
        lane=document["lane"],
        holder=document.get("holder"),
        inputs=document.get("inputs", 0),
        readers=tuple(document["readers"]),
        managers=tuple(document["managers"]),
        work_kept_by=document.get("work_kept_by"),
        size_bytes=document.get("size_bytes", 0),
        question=document.get("question"),
        uncounted=document.get("uncounted", 0),
        history=[
            HistoryEntry(status=e["status"], at=e["at"], attempt=e.get("attempt", 0))
            for e in document.get("history", ())
        ],
    )


def changed(document: Mapping[str, Any], change: Change | None, event_id: str) -> Changed:
    """Return a written change: the task as it is now, and the event that announces it."""
    event = next((event for event in events_of(document) if event.id == event_id), None)
    return Changed(task=standing(document), change=change, event=event)


def _attempt(document: Mapping[str, Any]) -> Attempt:
    return Attempt(
        number=document["number"],
        id=document["id"],
        worker=document["worker"],
        execution=document.get("execution"),
        outcome=document.get("outcome"),
        reason=document.get("reason"),
        started_at=document.get("started_at"),
        ended_at=document.get("ended_at"),
        pushes=document.get("pushes"),
        resumes=document.get("resumes"),
        script_exit_code=document.get("script_exit_code"),
        image_id=document.get("image_id"),
    )


def _filter(guard: Guard) -> Document:
    found: Document = {"status": {"$in": sorted(guard.statuses)}}
    if guard.attempt is not UNCHECKED:
        found["attempt.number"] = guard.attempt
    if guard.execution is not UNCHECKED:
        found["attempt.execution"] = guard.execution
    if guard.not_cancelled:
        found["cancel_requested_at"] = None
    if guard.lease_over:
        found["$expr"] = {"$lt": ["$lease_until", "$$NOW"]}
    if guard.answer_late:
        found |= {"answer_until": {"$exists": True}, "$expr": {"$lt": ["$answer_until", "$$NOW"]}}
    if guard.managed_by is not None:
        found |= {"readers": {"$in": list(guard.managed_by)}, "managers": {"$in": list(guard.managed_by)}}
    if guard.fewer_inputs is not None:
        found[f"input.{guard.fewer_inputs - 1}"] = {"$exists": False}
    if guard.draws_on is not None:
        found["draws_on"] = guard.draws_on
    if guard.claimable:
        found["claim"] = {"$exists": True}
    return found


# An attempt has ended: its statement is due, where the task wants one.
_PROVENANCE_DUE = {"$cond": [{"$eq": ["$spec.provenance", True]}, "$$NOW", "$$REMOVE"]}
_NEW_ATTEMPT = {
    "number": "$attempt_count",
    "id": {"$concat": ["$_id", "-", {"$toString": "$attempt_count"}]},
}


def _closed(of_attempt: Document) -> Document:
    """The current attempt, with these fields and the length of its log, is the last of the earlier ones."""
    there = {"$eq": [{"$type": "$attempt"}, "object"]}
    log = {name: {"$ifNull": [f"$log.{name}", 0]} for name in ("bytes", "next_sequence")}
    closed = {"$concatArrays": ["$past_attempts", [{"$mergeObjects": ["$attempt", {**of_attempt, "log": log}]}]]}
    return {"past_attempts": {"$cond": [there, closed, "$past_attempts"]}, "attempt": None}


def _expression(value: Any) -> Any:
    """A value of a decision as the database computes it."""
    match value:
        case _ if value is NOW:
            return "$$NOW"
        case Later(seconds):
            return after(seconds)
        case Kept(field, None):
            return f"${field}"
        case Kept(field, otherwise):
            return {"$ifNull": [f"${field}", _expression(otherwise)]}
        case NextNumber(field):
            return {"$add": [{"$size": f"${field}"}, 1]}
        case Counted(field):
            return {"$add": [{"$ifNull": [f"${field}", 0]}, 1]}
        case Appended(field, entry):
            return {"$concatArrays": [f"${field}", [{name: _expression(one) for name, one in entry.items()}]]}
        case Extended(field, more):
            return {"$concatArrays": [{"$ifNull": [f"${field}", []]}, literal(more)]}
    return literal(value)
