"""A task's document: how it begins, how it changes, how it is read.

Every change of status is one conditional update (`keruta.adapters.mongo.decisions`): what must still hold in the
filter; status, history and the event to send in one pipeline, timed by the server. Nothing reads first and writes then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from pymongo import ReturnDocument

from keruta import structs
from keruta.adapters.mongo.client import Collection
from keruta.adapters.mongo.task_search import search_fields
from keruta.domain.events import Event, task_event
from keruta.domain.lifecycle import Change, Status, target
from keruta.domain.log_text import end_of_log
from keruta.domain.messages import Message, as_message, fields_of
from keruta.domain.naming import new_id
from keruta.domain.reports import TAIL_LIMIT_BYTES
from keruta.domain.same_runs import same_facet
from keruta.domain.task import AttemptView, NewTask, TaskSummary, TaskView
from keruta.ports import Document

HISTORY_LIMIT = 200
Pipeline = list[dict[str, Any]]

# That something is there opens its partial index, and that its worker is one finds a place in it.
IS_BLOCKED: Document = {"blocked_by": {"$exists": True}, "blocked_by.worker": {"$gt": ""}}


def literal(value: Any) -> dict[str, Any]:
    """Keeps what came from outside from being read as an expression: a name may begin with `$`."""
    return {"$literal": value}


def message_fields(said: Message | str | None) -> dict[str, Any]:
    """Return the fields of a message as expressions: its English text, its code and its arguments."""
    fields = fields_of(as_message(said) if said is not None else None)
    return {name: literal(value) for name, value in fields.items()}


def after(seconds: float) -> dict[str, Any]:
    """The server's time, so many seconds from now."""
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def seen_within(seconds: float) -> dict[str, Any]:
    """Return an expression: the worker has reported within this many seconds."""
    return {"$gte": ["$seen_at", after(-seconds)]}


def new_document(new: NewTask) -> Document:
    """The document of a task that was just accepted. Its times are set by `insert_pipeline` on the server."""
    request = new.request
    found_by = facets(new)
    return {
        "_id": new.id,
        "owner": new.owner,
        "readers": list(new.readers),
        "managers": list(new.managers),
        "facets": found_by,
        "seen_by": [key for reader in new.readers for key in (reader, *seen_keys([reader], *found_by))],
        **search_fields(new.id, request.name, new.readers),
        "status": Status.QUEUED.value,
        "name": request.name,
        "queue": request.queue,
        "priority": new.priority,
        "labels": request.labels,
        "lane": new.lane,
        "claim": new.lane,
        "named": new.draws_on,
        "draws_on": new.draws_on,
        "spec": new.spec,
        "retry": {"policy": new.retry.policy, "max_attempts": new.retry.max_attempts},
        "attempt_count": 0,
        "past_attempts": [],
        "input": [],
        **({"origin": msgspec.to_builtins(new.origin, builtin_types=(datetime,))} if new.origin is not None else {}),
    }


def seen_keys(readers: Iterable[str], *wanted: str) -> list[str]:
    """Return the values of `seen_by` by which these readers' tasks with one of these facets are found."""
    return [f"{reader} {facet}" for reader in readers for facet in wanted]


def facets(new: NewTask) -> list[str]:
    """Return a task's unchanging properties by which lists are filtered."""
    request = new.request
    return [
        f"queue={request.queue}",
        f"repository={new.repository.url}",
        *([f"repository={new.repository.name}"] if new.repository.name is not None else []),
        f"profile={new.profile}",
        f"owner={new.owner}",
        *(f"label={key}={value}" for key, value in request.labels.items()),
        same_facet(
            trigger=new.origin, repository=new.repository.url, name=request.name, script=request.script,
            command=request.command, prompt=request.prompt,
        ),
    ]  # fmt: skip


def insert_new(tasks: Collection, new: NewTask) -> tuple[Document, Event | None]:
    """Stores a task, timed by the server; a task of that identity that is there already stays as it is.

    Returns:
        The document, and the event to send if it was new.
    """
    event_id = new_id()
    beginning = literal(new_document(new))
    added = {
        "created_at": "$$NOW",
        "changed_at": "$$NOW",
        "history": [{"status": Status.QUEUED.value, "at": "$$NOW", "attempt": 0}],
        "outbox": [{"id": event_id, "status": Status.QUEUED.value, "at": "$$NOW", "attempt": 0}],
        "outbox_at": "$$NOW",
        **({"forge_due": "$$NOW"} if new.origin is not None and new.origin.forge is not None else {}),
    }
    fresh = {"$eq": [{"$type": "$status"}, "missing"]}
    document = tasks.find_one_and_update(
        {"_id": new.id},
        [{"$replaceWith": {"$cond": [fresh, {"$mergeObjects": [beginning, added]}, "$$ROOT"]}}],
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    assert document is not None
    made = next((event for event in events_of(document) if event.id == event_id), None)
    return document, made


def status_change(change: Change, fields: Mapping[str, Any], removed: Sequence[str], event_id: str) -> Pipeline:
    """Make the pipeline of one change of status: the status, its history, the event to send, and further fields.

    Args:
        fields: further fields, as aggregation expressions; what came from outside goes through `literal`.
        removed: fields that go.
    """
    to = target(change).value
    number = {"$ifNull": ["$attempt.number", "$attempt_count"]}
    said = {"status": to, "at": "$$NOW", "attempt": number}
    pipeline: Pipeline = [
        {
            "$set": {
                **fields,
                "status": to,
                "changed_at": "$$NOW",
                "history": {"$slice": [{"$concatArrays": ["$history", [said]]}, -HISTORY_LIMIT]},
                "outbox": {"$concatArrays": [{"$ifNull": ["$outbox", []]}, [{"id": event_id, **said}]]},
                "outbox_at": {"$ifNull": ["$outbox_at", "$$NOW"]},
                "forge_due": {"$cond": [{"$eq": [{"$type": "$origin.forge"}, "string"]}, "$$NOW", "$$REMOVE"]},
            }
        }
    ]
    if removed:
        pipeline.append({"$unset": list(removed)})
    return pipeline


def events_of(document: Mapping[str, Any]) -> list[Event]:
    """The events that a document still has to send."""
    return [
        Event(
            id=entry["id"],
            type=task_event(entry["status"]),
            subject=document["_id"],
            time=entry["at"],
            data={"task": document["_id"], "status": entry["status"], "attempt": entry.get("attempt", 0)},
        )
        for entry in document.get("outbox") or []
    ]


SUMMARY_FIELDS = [
    "status",
    "name",
    "owner",
    "queue",
    "priority",
    "labels",
    "created_at",
    "changed_at",
    "reason",
    "message",
    "message_code",
    "message_arguments",
    "exit_code",
    "ended_at",
]
SUMMARY_PROJECTION = dict.fromkeys([*SUMMARY_FIELDS, "spec.repository", "spec.profile", "attempt.started_at"], 1)
_ATTEMPT_FIELDS = frozenset(AttemptView.__struct_fields__)


def to_view(document: Mapping[str, Any]) -> TaskView:
    """Makes what the API shows of a task's document (all but why it waits, which others know)."""
    spec = document["spec"]
    current = document.get("attempt") or None
    attempts = [*document.get("past_attempts", []), *([current] if current else [])]
    last = attempts[-1] if attempts else {}
    log = document.get("log") or {}
    return structs.from_plain(
        {
            **_common(document, last.get("started_at")),
            **{name: spec.get(name) for name in ("script", "command", "prompt", "check", "result_branch", "result")},
            "env": spec.get("env", {}),
            "provenance": bool(spec.get("provenance")),
            "cache": spec.get("cache"),
            "without_secrets": bool(spec.get("without_secrets")),
            "documents": spec.get("documents", []),
            "timeout_seconds": spec["timeout_seconds"],
            "retry": document["retry"],
            "cancel_requested_at": document.get("cancel_requested_at"),
            "question": document.get("question"),
            "answer_until": document.get("answer_until"),
            "work_kept_by": document.get("work_kept_by"),
            "attempts": [_attempt(one, log if one is current else one.get("log") or {}) for one in attempts],
            "outputs": last.get("outputs") or {},
            "answer": last.get("answer") or "",
            "artifacts": last.get("artifacts") or [],
            "history": document.get("history", []),
            "origin": document.get("origin"),
            "log": {
                "bytes": log.get("bytes", 0),
                "next_sequence": log.get("next_sequence", 0),
                "tail": end_of_log(b"".join(log.get("tail", []))[-TAIL_LIMIT_BYTES:]),
            },
        },
        TaskView,
    )


def _attempt(attempt: Mapping[str, Any], log: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in attempt.items() if name in _ATTEMPT_FIELDS}
    return {**fields, "log_bytes": log.get("bytes", 0)}


def to_summary(document: Mapping[str, Any]) -> TaskSummary:
    """Makes what a list shows of a task's document."""
    return structs.from_plain(_common(document, (document.get("attempt") or {}).get("started_at")), TaskSummary)


def _common(document: Mapping[str, Any], started_at: Any) -> dict[str, Any]:
    fields = {name: document.get(name) for name in SUMMARY_FIELDS}
    repository = document["spec"]["repository"]
    profile = document["spec"].get("profile", "")
    return {**fields, "id": document["_id"], "repository": repository, "profile": profile, "started_at": started_at}
