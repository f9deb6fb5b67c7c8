"""Applies what agents report: chunks before state, one conditional update per change, one outcome per entry.

What is read first (`_Standing`) only chooses the words of an outcome and the kind of an update; whether the update
holds is decided by its own filter.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.pulse import Pulse
from keruta.adapters.mongo.specifying import MongoSpecifications
from keruta.adapters.mongo.tasks import after, back_to_queue, events_of, literal, transition
from keruta.domain.catalog.circuits import BLAMED
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import (
    TAIL_LIMIT_BYTES,
    AnyEntry,
    Assigned,
    Ended,
    Held,
    Input,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Registration,
    Report,
    ReportAnswer,
    Resumed,
    Running,
    Waiting,
)
from keruta.domain.retry import backoff_seconds, may_retry
from keruta.domain.specification import Specification
from keruta.domain.status import ENDED, LEASED, Change, Status
from keruta.errors import Forbidden, NotFound, Unauthenticated
from keruta.ports import Document, Outbox, Sender
from keruta.settings import Settings

log = logging.getLogger(__name__)

_STANDING = dict.fromkeys(
    ["status", "attempt", "cancel_requested_at", "retry", "log.next_sequence", "holder", "lane"], 1
)
_HELD_STATUSES = sorted(LEASED | {Status.UNKNOWN})
ACCEPTED, REPEAT = Outcome(accepted=True), Outcome(accepted=True, repeat=True)
RENEW_SECONDS = 1.0
TAIL_PARTS = 16  # the database can't join bytes, so the tail is kept as the ends of the last batches


def refused(reason: str, message: str) -> Outcome:
    return Outcome(accepted=False, reason=reason, message=message)


STALE = refused("StaleAttempt", "This attempt is no longer the task's current one; stop it.")


class MongoReports:
    """`keruta.ports.Reports` on MongoDB."""

    def __init__(self, database: Database, outbox: Outbox, settings: Settings) -> None:
        self._tasks = database["tasks"]
        self._hints = database["tasks"].with_options(write_concern=WriteConcern(w=1))
        self._logs = database["logs"].with_options(write_concern=WriteConcern(w=1))
        self._workers = database["workers"]
        self._worker_beats = database["workers"].with_options(write_concern=WriteConcern(w=1))
        self._pulse = Pulse(database, settings.lease_seconds)
        self._circuits = MongoCircuits(database)
        self._specifications = MongoSpecifications(database, settings)
        self._outbox = outbox
        self._settings = settings
        self._rng = random.SystemRandom()

    # ------------------------------------------------------------ workers

    def register(self, worker: str, registration: Registration) -> str:
        session = new_id()
        with translated():
            self._workers.update_one(
                {"_id": worker},
                [
                    {
                        "$set": {
                            **literal_fields(msgspec.to_builtins(registration)),
                            "session": session,
                            "registered_at": "$$NOW",
                            "seen_at": "$$NOW",
                            "draining": {"$ifNull": ["$draining", False]},
                        }
                    },
                    {"$unset": "left_at"},
                ],
                upsert=True,
            )
        return session

    def leave(self, sender: Sender) -> None:
        """The worker is gone for good; what it had is another's at the next tick. Raises Unauthenticated."""
        with translated():
            self._beat(sender)
            self._workers.update_one({"_id": sender.worker}, [{"$set": {"left_at": "$$NOW", "slots": 0}}])

    def over(self, attempts: Sequence[str]) -> list[str]:
        """Which of these attempts are no task's current one, or have ended."""
        with translated():
            found = self._tasks.find(
                {"_id": {"$in": [name[:26] for name in attempts]}, "status": {"$in": _HELD_STATUSES}}, ["attempt.id"]
            )
            current = {(document.get("attempt") or {}).get("id") for document in found}
        return [name for name in attempts if name not in current]

    def _beat(self, sender: Sender) -> bool:
        """The worker was seen. Returns whether its leases are to be renewed.

        Raises:
            Unauthenticated: another registration has taken this session's place.
        """
        before = self._worker_beats.find_one_and_update(
            {"_id": sender.worker, "session": sender.session}, [{"$set": {"seen_at": "$$NOW"}}], projection=["seen_at"]
        )
        if before is None:
            raise Unauthenticated("This session is void; register again.", reason="SessionVoid")
        return bool(datetime.now(UTC) - before["seen_at"] > timedelta(seconds=RENEW_SECONDS))

    # ------------------------------------------------------------ reports

    def apply(self, sender: Sender, report: Report) -> ReportAnswer:
        with translated():
            renew = self._beat(sender) if sender.worker else True
            self._pulse.reported()
            ids = {entry.task for entry in report.entries} | {held.task for held in report.held}
            found = self._tasks.find({"_id": {"$in": list(ids)}}, _STANDING) if report.entries or renew else ()
            documents = {document["_id"]: document for document in found}
            outcomes: list[Outcome | None] = [None] * len(report.entries)
            by_task: dict[str, list[int]] = {}
            for number, entry in enumerate(report.entries):
                by_task.setdefault(entry.task, []).append(number)
            self._store_chunks(sender, report.entries, documents, outcomes)
            for task_id, numbers in by_task.items():
                try:
                    self._apply_task(sender, documents.get(task_id), report.entries, numbers, outcomes)
                except (ValueError, TypeError):  # one bad entry is its own outcome, never the batch's end
                    log.exception("entry not applied", extra={"action": "entry_failed", "task": task_id})
            self._note_successes(report.entries, outcomes, documents)
            if renew:
                self._renew(sender, report.held, documents)
            broken = refused("InternalError", "This entry could not be applied; the log of report_status tells more.")
            assigned = self.assigned(sender.worker, report.held) if sender.worker else self._own(sender, report.held)
        return ReportAnswer(outcomes=[outcome or broken for outcome in outcomes], assigned=assigned)

    def _store_chunks(
        self,
        sender: Sender,
        entries: Sequence[AnyEntry],
        documents: dict[str, Document],
        outcomes: list[Outcome | None],
    ) -> None:
        expires_at = datetime.now(UTC) + timedelta(days=self._settings.log_days)
        chunks: dict[str, tuple[int, Document]] = {}
        for number, entry in enumerate(entries):
            if not isinstance(entry, LogChunk):
                continue
            outcomes[number] = _chunk_refusal(sender, entry, documents.get(entry.task), self._settings.log_limit_bytes)
            if outcomes[number] is None:
                chunk = _chunk_document(entry, expires_at)
                chunks[chunk["_id"]] = number, chunk
                outcomes[number] = ACCEPTED
        if not chunks:
            return
        try:
            self._logs.insert_many([chunk for _, chunk in chunks.values()], ordered=False)
        except BulkWriteError as error:
            for failure in error.details["writeErrors"]:
                if failure["code"] != 11000:
                    raise
                outcomes[chunks[failure["op"]["_id"]][0]] = REPEAT

    def _apply_task(
        self,
        sender: Sender,
        document: Document | None,
        entries: Sequence[AnyEntry],
        numbers: Sequence[int],
        outcomes: list[Outcome | None],
    ) -> None:
        """Applies the entries of one task, in order; what its chunks say of the log goes with the first update."""
        chunks = [
            entry for n in numbers if isinstance(entry := entries[n], LogChunk) and outcomes[n] in (ACCEPTED, REPEAT)
        ]
        log_fields = _log_fields(chunks)
        states = [n for n in numbers if not isinstance(entries[n], LogChunk)]
        for position, number in enumerate(states):
            entry = entries[number]
            wrong = _not_theirs(sender, entry, document)
            if wrong is not None:
                outcomes[number] = wrong
                continue
            follower = entries[states[position + 1]] if position + 1 < len(states) else None
            if isinstance(entry, Preparing) and isinstance(follower, Running) and follower.attempt == entry.attempt:
                outcomes[number] = ACCEPTED  # said by the start's own record
                continue
            assert document is not None
            outcome, changed = self._change(entry, document, log_fields)
            if changed is not None:
                document, log_fields = changed, {}
            outcomes[number] = outcome
        if log_fields and chunks:
            match = {"_id": chunks[0].task, "attempt.number": chunks[0].attempt}
            self._tasks.update_one(match, [{"$set": log_fields}])

    def _change(self, entry: AnyEntry, document: Document, log_fields: Document) -> tuple[Outcome, Document | None]:
        """Makes the change that an entry asks for. Returns its outcome, and the document if it changed."""
        same: Document = {"attempt.number": entry.attempt}
        lease = {"lease_until": after(self._settings.lease_seconds)}
        match entry:
            case Preparing():
                changed = self._write(
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
                changed = self._write(kind, entry, same, {**lease, "question": question, **log_fields})
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
            "attempt.notes": literal(entry.notes),
        }
        match = {**same, "attempt.execution": None, "cancel_requested_at": None}
        changed = self._write(Change.START, entry, match, set_)
        if changed is not None:
            return ACCEPTED, changed
        now = self._tasks.find_one({"_id": entry.task}, _STANDING)
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
            "message": entry.message,
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
            "message": literal(entry.message),
            "exit_code": literal(entry.exit_code),
            "question": None,
            "ended_at": "$$NOW",
        }
        if entry.status == "failed":
            changed = self._try_again(entry, document, same)
            if changed is not None:
                self._circuits.failed(document["lane"], entry.task, entry.reason or "", entry.message or "")
                return ACCEPTED, changed
        kind = {"succeeded": Change.SUCCEED, "failed": Change.FAIL, "cancelled": Change.END_CANCELLED}[entry.status]
        if entry.execution is None and document.get("cancel_requested_at"):
            kind = Change.END_CANCELLED  # it never started, and no one wants it any more
        changed = self._write(kind, entry, same, fields)
        if changed is not None:
            if entry.status == "failed":
                self._circuits.failed(document["lane"], entry.task, entry.reason or "", entry.message or "")
            return ACCEPTED, changed
        now = self._tasks.find_one({"_id": entry.task}, _STANDING) or {}
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
        back = back_to_queue(reason=entry.reason, message=entry.message, backoff_seconds=wait)
        return self._write(Change.RETRY, entry, {**same, "cancel_requested_at": None}, back)

    def _note_successes(
        self, entries: Sequence[AnyEntry], outcomes: Sequence[Outcome | None], documents: dict[str, Document]
    ) -> None:
        """Where a script ran to an end of its own, what it draws on works."""
        self._circuits.succeeded(
            documents[entry.task]["lane"]
            for entry, outcome in zip(entries, outcomes, strict=True)
            if isinstance(entry, Ended)
            and outcome is ACCEPTED
            and entry.execution is not None
            and entry.reason not in BLAMED
        )

    def _lose(
        self, entry: Lost, document: Document, same: Document, log_fields: Document
    ) -> tuple[Outcome, Document | None]:
        """The agent's own word that an end is not known. What may run again does; the rest waits for a person."""
        same["attempt.execution"] = entry.execution
        retry = document["retry"]
        if retry["policy"] == "always" and entry.attempt < retry["max_attempts"]:
            back = back_to_queue(reason="EndNotKnown", message="The machine went down while the script ran.")
            changed = self._write(Change.RETRY, entry, {**same, "cancel_requested_at": None}, back)
            if changed is not None:
                return ACCEPTED, changed
        told = {
            "reason": "EndNotKnown",
            "message": "The machine went down while the script ran; look at its log, then accept, retry or cancel it.",
        }
        changed = self._write(Change.LOSE, entry, same, {**told, **log_fields})
        return (ACCEPTED if changed else REPEAT), changed

    def _write(self, change: Change, entry: AnyEntry, match: Document, set_: Document) -> Document | None:
        event_id = new_id()
        filter_, pipeline = transition(change, entry.task, match=match, set_=set_, event_id=event_id)
        document = self._tasks.find_one_and_update(
            filter_, pipeline, projection={**_STANDING, "outbox": 1}, return_document=ReturnDocument.AFTER
        )
        if document is None:
            return None
        self._outbox.send(entry.task, [event for event in events_of(document) if event.id == event_id])
        log.info(
            "task %s",
            document["status"],
            extra={"action": f"task_{document['status']}", "task": entry.task, "attempt": entry.attempt},
        )
        return document

    # ------------------------------------------------------------ leases, and what is whose

    def _renew(self, sender: Sender, held: Iterable[Held], documents: dict[str, Document]) -> None:
        """Those that the sender holds, and no others, are believed in for another lease."""
        known = [h for h in held if sender.worker or attempt_id(h.task, h.attempt) == sender.attempt]
        mine = [one for one in known if one.renew]
        for one in mine:
            document = documents.get(one.task)
            if document and document["status"] == Status.UNKNOWN:
                match = {"attempt.number": one.attempt, "attempt.execution": one.execution}
                told = {"reason": None, "message": None, "lease_until": after(self._settings.lease_seconds)}
                entry = Resumed(task=one.task, attempt=one.attempt, execution=one.execution or "-")
                self._write(Change.RESUME, entry, match, told)
        if mine:
            names = [attempt_id(one.task, one.attempt) for one in mine]
            renewed: Document = {
                "_id": {"$in": [one.task for one in mine]},
                "attempt.id": {"$in": names},
                "status": {"$in": sorted(LEASED)},
                **({"holder": sender.worker} if sender.worker else {}),
            }
            self._hints.update_many(renewed, [{"$set": {"lease_until": after(self._settings.lease_seconds)}}])
        if sender.worker:
            self._unblock(sender.worker, known)

    def _unblock(self, worker: str, held: Sequence[Held]) -> None:
        """The next attempt may start: this worker no longer has the last one."""
        names = [attempt_id(one.task, one.attempt) for one in held]
        self._hints.update_many(
            {"blocked_by.worker": worker, "blocked_by.attempt": {"$nin": names}},
            [{"$set": {"claim": "$lane"}}, {"$unset": "blocked_by"}],
        )

    def assigned(self, worker: str, known: Iterable[Held]) -> list[Assigned]:
        fields = {"status": 1, "attempt": 1, "cancel_requested_at": 1, "input": 1, "spec": 1}
        return self._told(list(self._tasks.find({"holder": worker, "status": {"$in": _HELD_STATUSES}}, fields)), known)

    def _own(self, sender: Sender, held: Iterable[Held]) -> list[Assigned]:
        found = self._tasks.find({"attempt.id": sender.attempt, "_id": (sender.attempt or "")[:26]})
        return self._told([document for document in found if document["status"] in _HELD_STATUSES], held)

    def _told(self, documents: Sequence[Document], held: Iterable[Held]) -> list[Assigned]:
        """What an answer says of each; what the sender does not hold yet comes with its specification."""
        acknowledged = {attempt_id(one.task, one.attempt): one.input_acknowledged for one in held}
        fresh = [document for document in documents if document["attempt"]["id"] not in acknowledged]
        specifications = {one.task: one for one in self._specifications.of(fresh)}
        return [_to_assigned(d, acknowledged, specifications.get(d["_id"])) for d in documents]

    def specification(self, sender: Sender, task: str, attempt: int) -> Specification:
        with translated():
            document = self._tasks.find_one({"_id": task}, {"attempt": 1, "spec": 1, "status": 1})
        current = (document or {}).get("attempt") or {}
        if document is None or current.get("number") != attempt:
            raise NotFound("No such attempt.")
        if sender.attempt not in (None, current["id"]) or (sender.worker and sender.worker != current["worker"]):
            raise Forbidden("This attempt is another worker's.")
        with translated():
            return self._specifications.of([document])[0]


def literal_fields(fields: Document) -> Document:
    """Each value of a document, kept from being read as an expression."""
    return {name: literal(value) for name, value in fields.items()}


def _not_theirs(sender: Sender, entry: AnyEntry, document: Document | None) -> Outcome | None:
    if document is None:
        return refused("NoSuchTask", "There is no such task.")
    attempt = document.get("attempt") or {}
    if attempt.get("number") != entry.attempt:
        return STALE
    if (sender.worker and attempt["worker"] != sender.worker) or (sender.attempt and attempt["id"] != sender.attempt):
        return refused("NotYours", "This attempt is not the sender's.")
    return None


def _chunk_refusal(sender: Sender, entry: LogChunk, document: Document | None, limit: int) -> Outcome | None:
    if entry.offset_bytes + len(entry.data) > limit + TAIL_LIMIT_BYTES * 32:
        return refused("LogLimit", f"MongoDB keeps {limit} bytes of a log.")
    return _not_theirs(sender, entry, document)


def _chunk_document(entry: LogChunk, expires_at: datetime) -> Document:
    return {
        "_id": f"{attempt_id(entry.task, entry.attempt)}/{entry.sequence:08d}",
        "task": entry.task,
        "attempt": entry.attempt,
        "sequence": entry.sequence,
        "offset": entry.offset_bytes,
        "at": entry.at,
        "system": entry.system,
        "data": entry.data,
        "expires_at": expires_at,
    }


def _log_fields(chunks: Sequence[LogChunk]) -> Document:
    """What a batch's chunks say of the whole log: how long it is, and its last lines."""
    if not chunks:
        return {}
    by_sequence = {chunk.sequence: chunk for chunk in chunks}
    last = by_sequence[max(by_sequence)]
    text = b"".join(by_sequence[n].data for n in sorted(by_sequence) if not by_sequence[n].system)
    known = {"$ifNull": ["$log.tail", []]}
    fresh: dict[str, Any] = {
        "next_sequence": last.sequence + 1,
        "bytes": last.offset_bytes + len(last.data),
        "tail": {"$slice": [{"$concatArrays": [known, [text[-TAIL_LIMIT_BYTES:]]]}, -TAIL_PARTS]} if text else known,
    }
    newer = {"$gt": [last.sequence + 1, {"$ifNull": ["$log.next_sequence", 0]}]}
    return {"log": {"$cond": [newer, {"$mergeObjects": [{"$ifNull": ["$log", {}]}, fresh]}, "$log"]}}


def _to_assigned(document: Document, acknowledged: dict[str, int], specification: Specification | None) -> Assigned:
    attempt = document["attempt"]
    passed = acknowledged.get(attempt["id"], 0)
    return Assigned(
        task=document["_id"],
        attempt=attempt["number"],
        status=document["status"],
        execution=attempt.get("execution"),
        stop=document.get("cancel_requested_at") is not None,
        input=[Input(number=i["number"], text=i["text"]) for i in document["input"] if i["number"] > passed],
        specification=specification,
    )
