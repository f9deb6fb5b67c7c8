"""Takes what agents report: chunks before state, task by task, one outcome per entry; and says what is whose."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from pymongo.write_concern import WriteConcern

from keruta import metrics
from keruta.adapters.mongo.attempts import STANDING, AttemptChanges
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.logs import MongoLogs, log_fields
from keruta.adapters.mongo.outage_guard import Pulse
from keruta.adapters.mongo.outcomes import ACCEPTED, REPEAT, not_theirs
from keruta.adapters.mongo.specifications import MongoSpecifications
from keruta.adapters.mongo.tasks import IS_BLOCKED, after, literal, message_fields
from keruta.adapters.tracing import SILENT, Tracing
from keruta.domain.catalog.circuits import BLAMED
from keruta.domain.lifecycle import HELD, LEASED, Change, Status
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import (
    AnyEntry,
    Assigned,
    Ended,
    Held,
    Input,
    LogChunk,
    Outcome,
    Preparing,
    Registration,
    Report,
    ReportAnswer,
    Resumed,
    Running,
    refused,
)
from keruta.domain.specification import Specification
from keruta.errors import Forbidden, NotFound, Unauthenticated
from keruta.ports import Document, Outbox, Sender
from keruta.settings import Settings

log = logging.getLogger(__name__)

_HELD = sorted(HELD)
RENEW_SECONDS = 1.0


class MongoReports:
    """`keruta.ports.Reports` on MongoDB."""

    def __init__(self, database: Database, outbox: Outbox, settings: Settings, tracing: Tracing = SILENT) -> None:
        self._tasks = database["tasks"]
        self._hints = database["tasks"].with_options(write_concern=WriteConcern(w=1))
        self._logs = MongoLogs(database, settings)
        self._workers = database["workers"]
        self._worker_beats = database["workers"].with_options(write_concern=WriteConcern(w=1))
        self._pulse = Pulse(database, settings.lease_seconds)
        self._circuits = MongoCircuits(database)
        self._changes = AttemptChanges(database, outbox, self._circuits, settings, tracing)
        self._specifications = MongoSpecifications(database, settings)
        self._settings = settings

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
                {"_id": {"$in": [name[:26] for name in attempts]}, "status": {"$in": _HELD}}, ["attempt.id"]
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
            raise Unauthenticated(message("worker_session_void"), reason="SessionVoid")
        return bool(datetime.now(UTC) - before["seen_at"] > timedelta(seconds=RENEW_SECONDS))

    # ------------------------------------------------------------ reports

    def apply(self, sender: Sender, report: Report) -> ReportAnswer:
        with translated():
            renew = self._beat(sender) if sender.worker else True
            self._pulse.reported()
            ids = {entry.task for entry in report.entries} | {held.task for held in report.held}
            found = self._tasks.find({"_id": {"$in": list(ids)}}, STANDING) if report.entries or renew else ()
            documents = {document["_id"]: document for document in found}
            outcomes: list[Outcome | None] = [None] * len(report.entries)
            by_task: dict[str, list[int]] = {}
            for number, entry in enumerate(report.entries):
                by_task.setdefault(entry.task, []).append(number)
            self._logs.store(sender, report.entries, documents, outcomes)
            for task_id, numbers in by_task.items():
                try:
                    self._apply_task(sender, documents.get(task_id), report.entries, numbers, outcomes)
                except (ValueError, TypeError):  # one bad entry is its own outcome, never the batch's end
                    log.exception("entry not applied", extra={"action": "entry_failed", "task": task_id})
            self._note_successes(report.entries, outcomes, documents)
            if renew:
                self._renew(sender, report.held, documents)
            broken = refused("InternalError", message("attempt_entry_failed"))
            assigned = self.assigned(sender.worker, report.held) if sender.worker else self._own(sender, report.held)
        for outcome in outcomes:
            if outcome is not None and not outcome.accepted:
                metrics.REPORTS_REFUSED.labels(reason=outcome.reason or "").inc()
        return ReportAnswer(outcomes=[outcome or broken for outcome in outcomes], assigned=assigned)

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
        fields = log_fields(chunks)
        states = [n for n in numbers if not isinstance(entries[n], LogChunk)]
        for position, number in enumerate(states):
            entry = entries[number]
            wrong = not_theirs(sender, entry, document)
            if wrong is not None:
                outcomes[number] = wrong
                continue
            follower = entries[states[position + 1]] if position + 1 < len(states) else None
            if isinstance(entry, Preparing) and isinstance(follower, Running) and follower.attempt == entry.attempt:
                outcomes[number] = ACCEPTED  # said by the start's own record
                continue
            assert document is not None
            outcome, changed = self._changes.make(entry, document, fields)
            if changed is not None:
                document, fields = changed, {}
            outcomes[number] = outcome
        if fields and chunks:
            match = {"_id": chunks[0].task, "attempt.number": chunks[0].attempt}
            self._tasks.update_one(match, [{"$set": fields}])

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

    # ------------------------------------------------------------ leases, and what is whose

    def _renew(self, sender: Sender, held: Iterable[Held], documents: dict[str, Document]) -> None:
        """Those that the sender holds, and no others, are believed in for another lease."""
        known = [h for h in held if sender.worker or attempt_id(h.task, h.attempt) == sender.attempt]
        mine = [one for one in known if one.renew]
        for one in mine:
            document = documents.get(one.task)
            if document and document["status"] == Status.UNKNOWN:
                match = {"attempt.number": one.attempt, "attempt.execution": one.execution}
                told = {"reason": None, **message_fields(None), "lease_until": after(self._settings.lease_seconds)}
                entry = Resumed(task=one.task, attempt=one.attempt, execution=one.execution or "-")
                self._changes.write(Change.RESUME, entry, match, told)
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
            {**IS_BLOCKED, "blocked_by.worker": worker, "blocked_by.attempt": {"$nin": names}},
            [{"$set": {"claim": "$lane"}}, {"$unset": "blocked_by"}],
        )

    def assigned(self, worker: str, known: Iterable[Held]) -> list[Assigned]:
        fields = {"status": 1, "attempt": 1, "cancel_requested_at": 1, "input": 1, "spec": 1}
        return self._told(list(self._tasks.find({"holder": worker, "status": {"$in": _HELD}}, fields)), known)

    def _own(self, sender: Sender, held: Iterable[Held]) -> list[Assigned]:
        found = self._tasks.find({"attempt.id": sender.attempt, "_id": (sender.attempt or "")[:26]})
        return self._told([document for document in found if document["status"] in _HELD], held)

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
            raise NotFound(message("attempt_missing"))
        if sender.attempt not in (None, current["id"]) or (sender.worker and sender.worker != current["worker"]):
            raise Forbidden(message("attempt_other_worker"))
        with translated():
            return self._specifications.of([document])[0]


def literal_fields(fields: Document) -> Document:
    """Each value of a document, kept from being read as an expression."""
    return {name: literal(value) for name, value in fields.items()}


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
