"""Reads and writes of reports beside tasks' changes: workers, sessions, leases, and which attempt is whose."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.decisions import STANDING, standing
from keruta.adapters.mongo.joint_reads import Part, read_together
from keruta.adapters.mongo.outage_guard import Pulse
from keruta.adapters.mongo.running import IS_HELD, IS_LEASED
from keruta.adapters.mongo.specifications import NEEDED, MongoSpecifications
from keruta.adapters.mongo.tasks import IS_BLOCKED, after, literal
from keruta.domain.decisions.values import Standing
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.principal import Sender
from keruta.domain.reports import Assigned, Held, Input, Registration
from keruta.domain.specification import Specification
from keruta.errors import Unauthenticated
from keruta.ports import Document
from keruta.settings import Settings

_TASK_ID_LENGTH = 26  # an attempt's id begins with its task's
RENEW_SECONDS = 1.0


class MongoReportStore:
    """`keruta.ports.ReportStore` on MongoDB."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._tasks = database["tasks"]
        self._hints = database["tasks"].with_options(write_concern=WriteConcern(w=1))
        self._workers = database["workers"]
        self._worker_beats = database["workers"].with_options(write_concern=WriteConcern(w=1))
        self._pulse = Pulse(database, settings.lease_seconds)
        self._specifications = MongoSpecifications(database, settings)
        self._settings = settings

    # ------------------------------------------------------------ workers

    def register(self, worker: str, registration: Registration) -> str:
        session = new_id()
        fields: Document = {name: literal(value) for name, value in msgspec.to_builtins(registration).items()}
        fields |= {
            "session": session,
            "registered_at": "$$NOW",
            "seen_at": "$$NOW",
            "draining": {"$ifNull": ["$draining", False]},
        }
        with translated():
            self._workers.update_one({"_id": worker}, [{"$set": fields}, {"$unset": "left_at"}], upsert=True)
        return session

    def leave(self, sender: Sender) -> None:
        with translated():
            self._beat(sender, list(self._workers.find(_own(sender), ["seen_at"])))
            self._workers.update_one({"_id": sender.worker}, [{"$set": {"left_at": "$$NOW", "slots": 0}}])

    def receive(self, sender: Sender, task_ids: Collection[str]) -> tuple[bool, dict[str, Standing]]:
        """The session is looked up for each report; that it was seen is written once in a second."""
        parts = [Part("tasks", [{"$match": {"_id": {"$in": list(task_ids)}}}, {"$project": STANDING}])]
        if sender.worker:
            parts.append(Part("workers", [{"$match": _own(sender)}, {"$project": {"seen_at": 1}}]))
        with translated():
            rows = read_together(self._database, parts)
            renew = self._beat(sender, rows["workers"]) if sender.worker else True
            self._pulse.reported()
        return renew, {row["_id"]: standing(row) for row in rows["tasks"]}

    def _beat(self, sender: Sender, found: Sequence[Document]) -> bool:
        """Return whether the session was not seen for a second; it is now. Raises Unauthenticated: it is void."""
        if not found:
            raise Unauthenticated(message("worker_session_void"), reason="SessionVoid")
        late = bool(datetime.now(UTC) - found[0]["seen_at"] > timedelta(seconds=RENEW_SECONDS))
        if late:
            self._worker_beats.update_one(_own(sender), [{"$set": {"seen_at": "$$NOW"}}])
        return late

    # ------------------------------------------------------------ leases, and what is whose

    def renew(self, sender: Sender, attempts: Sequence[str]) -> None:
        match: Document = {
            "_id": {"$in": [name[:_TASK_ID_LENGTH] for name in attempts]},
            "attempt.id": {"$in": list(attempts)},
            "status": IS_LEASED,
            **({"holder": sender.worker} if sender.worker else {}),
        }
        with translated():
            self._hints.update_many(match, [{"$set": {"lease_until": after(self._settings.lease_seconds)}}])

    def unblock(self, worker: str, held: Sequence[str]) -> None:
        match = {**IS_BLOCKED, "blocked_by.worker": worker, "blocked_by.attempt": {"$nin": list(held)}}
        with translated():
            self._hints.update_many(match, [{"$set": {"claim": "$lane"}}, {"$unset": "blocked_by"}])

    def over(self, attempts: Sequence[str]) -> list[str]:
        match = {"_id": {"$in": [name[:_TASK_ID_LENGTH] for name in attempts]}, "status": IS_HELD}
        with translated():
            current = {
                (document.get("attempt") or {}).get("id") for document in self._tasks.find(match, ["attempt.id"])
            }
        return [name for name in attempts if name not in current]

    def assigned(self, sender: Sender, known: Iterable[Held]) -> list[Assigned]:
        match: Document = {"holder": sender.worker, "status": IS_HELD}
        if sender.worker is None:
            own = sender.attempt or ""
            match = {"_id": own[:_TASK_ID_LENGTH], "attempt.id": own, "status": IS_HELD}
        fields = {**NEEDED, "status": 1, "cancel_requested_at": 1, "input": 1}
        acknowledged = {attempt_id(one.task, one.attempt): one.input_acknowledged for one in known}
        with translated():
            documents = list(self._tasks.find(match, fields))
            fresh = [document for document in documents if document["attempt"]["id"] not in acknowledged]
            specifications = {one.task: one for one in self._specifications.of(fresh)}
        return [_to_assigned(one, acknowledged, specifications.get(one["_id"])) for one in documents]

    def specification(self, task_id: str, attempt: int) -> Specification | None:
        with translated():
            match = {"_id": task_id, "attempt.number": attempt}
            found = list(self._tasks.find(match, {**NEEDED, "status": 1}))
            return self._specifications.of(found)[0] if found else None


def _own(sender: Sender) -> Document:
    return {"_id": sender.worker, "session": sender.session}


def _to_assigned(document: Document, acknowledged: dict[str, int], specification: Specification | None) -> Assigned:
    attempt = document["attempt"]
    passed = acknowledged.get(attempt["id"], 0)
    return Assigned(
        task=document["_id"],
        attempt=attempt["number"],
        status=document["status"],
        execution=attempt.get("execution"),
        script_exit_code=attempt.get("script_exit_code"),
        wants_image=document["spec"].get("provenance") is True and attempt.get("image_id") is None,
        stop=document.get("cancel_requested_at") is not None,
        input=[Input(number=i["number"], text=i["text"]) for i in document["input"] if i["number"] > passed],
        specification=specification,
    )
