"""What people decide about a task: cancel, retry, accept, input. One conditional update each, and an audit entry."""

from __future__ import annotations

from pymongo import ReturnDocument

from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import back_to_queue, events_of, literal, transition
from keruta.adapters.tracing import SILENT, Tracing
from keruta.domain.audit import Action
from keruta.domain.lifecycle import LEASED, Change, Status
from keruta.domain.naming import new_id
from keruta.errors import Conflict, Forbidden, NotFound
from keruta.ports import Document, Outbox, WorkerSlots

INPUTS_LIMIT = 1000


class MongoDeciding:
    """Decisions by a person, for those whose `readers` names are given."""

    def __init__(self, database: Database, outbox: Outbox, tracing: Tracing = SILENT) -> None:
        self._tracing = tracing
        self._tasks = database["tasks"]
        self._workers = database["workers"]
        self._audit = MongoAudit(database)
        self._outbox = outbox

    def cancel(self, who: str, readers: list[str], task_id: str) -> WorkerSlots | None:
        """The task is cancelled, or will be as soon as its agent has heard: the worker to nudge is returned.

        Raises:
            NotFound, Conflict: it has ended already.
        """
        seen = _theirs(readers)
        end = {"reason": "Cancelled", "message": literal(f"Cancelled by {who}."), "ended_at": "$$NOW"}
        with translated():
            now = self._write(Change.CANCEL, task_id, seen, end)
            if now is None:
                asked = [{"$set": {"cancel_requested_at": {"$ifNull": ["$cancel_requested_at", "$$NOW"]}}}]
                leased = {"_id": task_id, **seen, "status": {"$in": sorted(LEASED)}}
                now = self._tasks.find_one_and_update(leased, asked, return_document=ReturnDocument.AFTER)
            if now is None:
                # Between the two it may have gone back to the queue.
                now = self._write(Change.CANCEL, task_id, seen, end)
            if now is None:
                raise self._refusal(readers, task_id, "cancelled")
            self._record(who, "cancel", now)
            return self._worker(now) if now["status"] in LEASED else None

    def retry(self, who: str, readers: list[str], task_id: str) -> None:
        """Another attempt is in the queue. Raises NotFound, Conflict: it has succeeded, or is still on its way."""
        back = back_to_queue(reason=None, message=None)
        with translated():
            # What may still be at work is waited for: the worker tells when it is gone.
            lost = {**_theirs(readers), "status": Status.UNKNOWN.value}
            blocked = {"worker": "$attempt.worker", "attempt": "$attempt.id"}
            waits = {key: value for key, value in back.items() if key != "claim"} | {"blocked_by": blocked}
            now = self._write(Change.RERUN, task_id, lost, waits)
            if now is None:
                ended = {**_theirs(readers), "status": {"$ne": Status.UNKNOWN.value}}
                now = self._write(Change.RERUN, task_id, ended, back)
            if now is None:
                raise self._refusal(readers, task_id, "retried")
            self._record(who, "retry", now)

    def accept(self, who: str, readers: list[str], task_id: str) -> None:
        """A task whose end is not known counts as done. Raises NotFound, Conflict."""
        done = {
            "reason": "Accepted",
            "message": literal(f"Its end was not known; {who} looked and accepted it."),
            "ended_at": "$$NOW",
            "attempt": {"$mergeObjects": ["$attempt", {"outcome": "succeeded", "ended_at": "$$NOW"}]},
        }
        with translated():
            now = self._write(Change.ACCEPT, task_id, _theirs(readers), done)
            if now is None:
                raise self._refusal(readers, task_id, "accepted")
            self._record(who, "accept", now)

    def input(self, who: str, readers: list[str], task_id: str, text: str) -> WorkerSlots | None:
        """The text is numbered and on its way to the script. Raises NotFound, Conflict: no script is running."""
        running = {
            "_id": task_id,
            **_theirs(readers),
            "status": {"$in": [Status.RUNNING.value, Status.WAITING.value]},
            f"input.{INPUTS_LIMIT - 1}": {"$exists": False},
        }
        entry = {"number": {"$add": [{"$size": "$input"}, 1]}, "text": literal(text), "at": "$$NOW"}
        with translated():
            now = self._tasks.find_one_and_update(
                running,
                [{"$set": {"input": {"$concatArrays": ["$input", [entry]]}}}],
                return_document=ReturnDocument.AFTER,
            )
            if now is None:
                raise self._refusal(readers, task_id, "given input")
            self._record(who, "input", now)
            return self._worker(now)

    def refuse_queued(self, who: str, match: Document, kind: str, name: str) -> int:
        """Queued tasks that need what was deleted have failed, each with the reason; returns how many."""
        message = f"The {kind} {name} was deleted by {who} while it waited; submit it again with another."
        end = {"reason": "ResourceDeleted", "message": literal(message), "ended_at": "$$NOW"}
        with translated():
            waiting = self._tasks.find({**match, "status": Status.QUEUED.value}, ["_id"]).hint("draws_on")
            return sum(self._write(Change.REFUSE, row["_id"], match, end) is not None for row in waiting)

    def _write(self, change: Change, task_id: str, match: Document, set_: Document) -> Document | None:
        event_id = new_id()
        filter_, pipeline = transition(change, task_id, match={}, set_=set_, event_id=event_id)
        now: Document | None = self._tasks.find_one_and_update(
            {"$and": [filter_, match]}, pipeline, return_document=ReturnDocument.AFTER
        )
        if now is not None:
            self._outbox.send(task_id, [event for event in events_of(now) if event.id == event_id])
            self._tracing.ended(now)
        return now

    def _refusal(self, readers: list[str], task_id: str, done: str) -> Exception:
        found = self._tasks.find_one({"_id": task_id, "readers": {"$in": readers}}, ["status", "managers"])
        if found is None:
            return NotFound("There is no such task.", reason="TaskNotFound")
        if set(found["managers"]).isdisjoint(readers):
            said = f"Only its submitter, who manages its repository or queue, and administrators may have it {done}."
            return Forbidden(said, reason="GrantMissing")
        return Conflict(f"A task that is {found['status']} can't be {done}.", reason="WrongStatus")

    def _worker(self, task: Document) -> WorkerSlots | None:
        worker = self._workers.find_one({"_id": task.get("holder")}, ["address"])
        return WorkerSlots(id=worker["_id"], address=worker.get("address"), free=0) if worker else None

    def _record(self, who: str, action: Action, task: Document) -> None:
        self._audit.record(who, action, "task", task["_id"], readers=task["readers"])


def _theirs(names: list[str]) -> Document:
    """Those that they may see and manage."""
    return {"readers": {"$in": names}, "managers": {"$in": names}}
