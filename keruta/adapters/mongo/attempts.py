"""The changes that an agent's entries ask for: one conditional update each, by attempt and execution.

What was read before only chooses the kind of an update and the words of an outcome; whether it holds, its filter says.
"""

from __future__ import annotations

import logging
import random

import msgspec
from pymongo import ReturnDocument

from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.decisions import CHANGED, standing
from keruta.adapters.mongo.metrics import note
from keruta.adapters.mongo.outcomes import ACCEPTED, REPEAT, STALE
from keruta.adapters.mongo.tasks import after, back_to_queue, events_of, literal, message_fields, transition
from keruta.adapters.tracing import Tracing
from keruta.domain.lifecycle import ENDED, Change, Status
from keruta.domain.messages import EMPTY, fields_of
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Ended, Lost, Outcome, Preparing, Resumed, Running, Waiting, refused
from keruta.domain.retry import backoff_seconds, may_retry
from keruta.ports import Document, Outbox
from keruta.settings import Settings

log = logging.getLogger(__name__)

STANDING = dict.fromkeys(
    ["status", "attempt", "cancel_requested_at", "retry", "log.next_sequence", "holder", "lane"], 1
)


class AttemptChanges:
    """Changes of tasks by what their attempts report."""

    def __init__(
        self, database: Database, outbox: Outbox, circuits: MongoCircuits, settings: Settings, tracing: Tracing
    ) -> None:
        self._tracing = tracing
        self._tasks = database["tasks"]
        self._circuits = circuits
        self._outbox = outbox
        self._settings = settings
        self._rng = random.SystemRandom()

    def make(self, entry: AnyEntry, document: Document, log_fields: Document) -> tuple[Outcome, Document | None]:
        """Makes the change that an entry asks for. Returns its outcome, and the document if it changed."""
        same: Document = {"attempt.number": entry.attempt}
        lease = {"lease_until": after(self._settings.lease_seconds)}
        match entry:
            case Preparing():
                changed = self.write(
                    Change.PREPARE, entry, same, {**lease, "attempt.preparing_at": "$$NOW", **log_fields}
                )
                begun = document["status"] not in (Status.QUEUED, Status.ASSIGNED)
                return (ACCEPTED if changed else REPEAT if begun else STALE), changed
            case Running():
                return self._start(entry, document, same, {**lease, **log_fields})
            case Waiting() | Resumed():
                same["attempt.execution"] = entry.execution
                asks = isinstance(entry, Waiting)
                question = literal(entry.question) if isinstance(entry, Waiting) else None
                kind = Change.ASK if asks else Change.RESUME
                changed = self.write(kind, entry, same, {**lease, "question": question, **log_fields})
                if changed is None and (document["attempt"] or {}).get("execution") != entry.execution:
                    return STALE, None
                return (ACCEPTED if changed else REPEAT), changed
            case Ended():
                return self._end(entry, document, same, log_fields)
            case Lost():
                return self._lose(entry, document, same, log_fields)
        raise TypeError(f"no such entry: {entry!r}")

    def _start(
        self, entry: Running, document: Document, same: Document, set_: Document
    ) -> tuple[Outcome, Document | None]:
        """The start is on record, once: the same execution is a repeat, another is refused and starts nothing."""
        set_ |= {
            "attempt.execution": literal(entry.execution),
            "attempt.commit": literal(entry.commit),
            "attempt.started_at": "$$NOW",
            "attempt.preparing_at": {"$ifNull": ["$attempt.preparing_at", "$$NOW"]},
            "attempt.profile_revision": entry.profile_revision,
            "attempt.notes": literal([note.text for note in entry.said]),
            "attempt.noted": literal([fields_of(note) for note in entry.said]),
        }
        match = {**same, "attempt.execution": None, "cancel_requested_at": None}
        changed = self.write(Change.START, entry, match, set_)
        if changed is not None:
            return ACCEPTED, changed
        now = self._tasks.find_one({"_id": entry.task}, STANDING)
        attempt = (now or {}).get("attempt") or {}
        if now is None or attempt.get("number") != entry.attempt:
            return STALE, now
        if attempt.get("execution") == entry.execution and now["status"] not in ENDED:
            return REPEAT, now
        if attempt.get("execution") is not None:
            return refused("AlreadyStarted", "This attempt was started by another execution; start nothing."), now
        if now.get("cancel_requested_at"):
            return refused("Cancelled", "The task was cancelled before it started."), now
        return STALE, now

    def _end(
        self, entry: Ended, document: Document, same: Document, log_fields: Document
    ) -> tuple[Outcome, Document | None]:
        same["attempt.execution"] = entry.execution
        result = {
            "outcome": entry.status,
            "reason": entry.reason,
            **fields_of(entry.said),
            "exit_code": entry.exit_code,
            "signal": entry.signal,
            "result_branch": entry.result_branch,
            "result_commit": entry.result_commit,
            "outputs": entry.outputs,
            "usage": entry.usage,
            "artifacts": msgspec.to_builtins(entry.artifacts),
            **({"commit": entry.commit} if entry.commit else {}),
        }
        fields = {
            **log_fields,
            "attempt": {"$mergeObjects": ["$attempt", literal(result), {"ended_at": "$$NOW"}]},
            "reason": literal(entry.reason),
            **message_fields(entry.said),
            "exit_code": literal(entry.exit_code),
            "question": None,
            "ended_at": "$$NOW",
        }
        kind = {"succeeded": Change.SUCCEED, "failed": Change.FAIL, "cancelled": Change.END_CANCELLED}[entry.status]
        if entry.execution is None and document.get("cancel_requested_at"):
            kind = Change.END_CANCELLED  # it never started, and no one wants it any more
        changed = self._try_again(entry, document, same) if entry.status == "failed" else None
        changed = changed or self.write(kind, entry, same, fields)
        if changed is not None:
            if entry.status == "failed":
                self._circuits.failed(document["lane"], entry.task, entry.reason or "", entry.said or EMPTY)
            return ACCEPTED, changed
        now = self._tasks.find_one({"_id": entry.task}, STANDING) or {}
        attempt = now.get("attempt") or {}
        if attempt.get("number") != entry.attempt:
            return STALE, None
        if (
            now["status"] in ENDED
            and attempt.get("outcome") == entry.status
            and attempt.get("execution") == entry.execution
        ):
            return REPEAT, None
        return refused("AlreadyEnded", f"This attempt is on record as {attempt.get('outcome') or now['status']}."), None

    def _try_again(self, entry: Ended, document: Document, same: Document) -> Document | None:
        """Back to the queue: after a while if it was ours, or behind a circuit if what it draws on fails for all."""
        retry, reason = document["retry"], entry.reason or ""
        left = entry.attempt < retry["max_attempts"] and retry["policy"] != "never"
        again = may_retry(
            reason,
            policy=retry["policy"],
            started=entry.execution is not None,
            attempt=entry.attempt,
            max_attempts=retry["max_attempts"],
        )
        held = left and entry.execution is None and self._circuits.holds(document["lane"], reason)
        if not again and not held:
            return None
        wait = 0.0 if held else backoff_seconds(entry.attempt, rng=self._rng)
        back = back_to_queue(reason=entry.reason, message=entry.said, backoff_seconds=wait)
        return self.write(Change.RETRY, entry, {**same, "cancel_requested_at": None}, back)

    def _lose(
        self, entry: Lost, document: Document, same: Document, log_fields: Document
    ) -> tuple[Outcome, Document | None]:
        """The agent's own word that an end is not known. What may run again does; the rest waits for a person."""
        same["attempt.execution"] = entry.execution
        retry = document["retry"]
        if retry["policy"] == "always" and entry.attempt < retry["max_attempts"]:
            back = back_to_queue(reason="EndNotKnown", message="The machine went down while the script ran.")
            changed = self.write(Change.RETRY, entry, {**same, "cancel_requested_at": None}, back)
            if changed is not None:
                return ACCEPTED, changed
        told = {
            "reason": "EndNotKnown",
            **message_fields(
                "The machine went down while the script ran; look at its log, then accept, retry or cancel it."
            ),
        }
        changed = self.write(Change.LOSE, entry, same, {**told, **log_fields})
        return (ACCEPTED if changed else REPEAT), changed

    def write(self, change: Change, entry: AnyEntry, match: Document, set_: Document) -> Document | None:
        event_id = new_id()
        filter_, pipeline = transition(change, entry.task, match=match, set_=set_, event_id=event_id)
        document = self._tasks.find_one_and_update(
            filter_, pipeline, projection={**CHANGED, **STANDING}, return_document=ReturnDocument.AFTER
        )
        if document is None:
            return None
        self._outbox.send(entry.task, [event for event in events_of(document) if event.id == event_id])
        note(change, document)
        self._tracing.ended(standing(document))
        log.info(
            "task %s",
            document["status"],
            extra={"action": f"task_{document['status']}", "task": entry.task, "attempt": entry.attempt},
        )
        return document
