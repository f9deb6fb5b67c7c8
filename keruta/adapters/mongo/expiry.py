"""What time does to tasks: leases that ran out, backoffs that are over, attempts that are surely gone."""

from __future__ import annotations

import logging
from typing import Any

from keruta import metrics
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.decisions import CHANGED, standing
from keruta.adapters.mongo.outage_guard import Pulse
from keruta.adapters.mongo.tasks import IS_BLOCKED, back_to_queue, events_of, literal, seen_within, transition
from keruta.adapters.tracing import SILENT, Tracing
from keruta.domain.lifecycle import HELD, LEASED, NOT_STARTED, Change
from keruta.domain.naming import new_id
from keruta.ports import Document, Outbox
from keruta.settings import Settings

log = logging.getLogger(__name__)

NODE_LOST_LEASES = 1.0
HANDED_OVER_LEASES = 0.5  # three heartbeats: before the leases of what has not started run out
FORGOTTEN_AFTER_SECONDS = 3600
_FIELDS = {"status": 1, "attempt": 1, "retry": 1, "cancel_requested_at": 1}


class MongoExpiry:
    """Run by the tick. Safe by many at a time: each change is a conditional update of one task."""

    def __init__(self, database: Database, outbox: Outbox, settings: Settings, tracing: Tracing = SILENT) -> None:
        self._tracing = tracing
        self._tasks = database["tasks"]
        self._workers = database["workers"]
        self._outbox = outbox
        self._settings = settings
        self._pulse = Pulse(database, settings.lease_seconds)

    def tick(self, *, reports_arrive: bool) -> int:
        """Lets expire what has expired, unless keruta itself was away; returns how many tasks changed.

        Args:
            reports_arrive: whether report_status has just answered at the address that agents use.
        """
        with translated():
            if reports_arrive:
                self._pulse.reported()
            self._release()
            self._hand_over()
            return self._expire() if self._pulse.ticked() else 0

    def _hand_over(self) -> None:
        """What workers in a cluster had that are gone is others': Jobs go on, whoever made them."""
        seen = seen_within(self._settings.lease_seconds * HANDED_OVER_LEASES)
        workers = self._workers.find(
            {"runner": "kubernetes"}, {"slots": 1, "left_at": 1, "alive": {"$and": [seen, {"$not": ["$left_at"]}]}}
        )
        by_life: dict[bool, list[Document]] = {True: [], False: []}
        for worker in workers:
            by_life[bool(worker["alive"])].append(worker)
        if not by_life[True] or not by_life[False]:
            return
        gone = [worker["_id"] for worker in by_life[False]]
        held = {"holder": {"$in": gone}, "status": {"$in": sorted(HELD)}}
        orphans = [row["_id"] for row in self._tasks.find(held, ["_id"]).hint("holder")]
        heirs = sorted(by_life[True], key=lambda worker: -worker["slots"])
        for number, task_id in enumerate(orphans):
            heir = literal(heirs[number % len(heirs)]["_id"])
            given = [{"$set": {"holder": heir, "attempt.worker": heir}}]
            self._tasks.update_one({"_id": task_id, **held}, given)
        if orphans:
            log.warning("handed over %d attempts", len(orphans), extra={"action": "handed_over", "count": len(orphans)})
        long_gone = {"$lt": ["$seen_at", {"$subtract": ["$$NOW", FORGOTTEN_AFTER_SECONDS * 1000]}]}
        self._workers.delete_many({"_id": {"$in": gone}, "$expr": long_gone})

    def _expire(self) -> int:
        over = {"lease_until": {"$exists": True}, "status": {"$in": sorted(LEASED)}}
        found = self._tasks.find({**over, "$expr": {"$lt": ["$lease_until", "$$NOW"]}}, _FIELDS)
        return sum(self._lose(document) for document in found.sort("lease_until", 1).hint("lease_until"))

    def _lose(self, document: Document) -> bool:
        """One lease has run out: back to the queue, to `unknown`, or to an end, as it stood and as its policy says."""
        attempt, retry = document["attempt"], document["retry"]
        started = document["status"] not in NOT_STARTED
        left = attempt["number"] < retry["max_attempts"]
        match: Document = {
            "attempt.number": attempt["number"],
            "attempt.execution": attempt["execution"],
            "status": document["status"],
            "$expr": {"$lt": ["$lease_until", "$$NOW"]},
        }
        if not started:
            message = f"No word came from worker {attempt['worker']} before the script had started."
            if document.get("cancel_requested_at"):
                return self._write(
                    Change.END_CANCELLED, document, match, self._ended("cancelled", "Cancelled", message)
                )
            if left:  # it provably never started, so this breaks no policy
                return self._requeue(document, match, back_to_queue(reason="WorkerLost", message=message))
            return self._write(Change.FAIL, document, match, self._ended("failed", "WorkerLost", message))
        if retry["policy"] == "always" and left and not document.get("cancel_requested_at"):
            message = f"No word came from worker {attempt['worker']} while the script ran; it is run again."
            back = back_to_queue(reason="EndNotKnown", message=message)
            del back["claim"]
            blocked = {"worker": literal(attempt["worker"]), "attempt": literal(attempt["id"])}
            return self._requeue(document, match, {**back, "blocked_by": blocked})
        message = (
            f"No word came from {attempt['worker']} for {self._settings.lease_seconds:g} s while its script ran. "
            "If word comes, the task goes on; else look at its log and branch, then accept, retry or cancel it."
        )
        return self._write(Change.LOSE, document, match, {"reason": "EndNotKnown", "message": literal(message)})

    def _requeue(self, document: Document, match: Document, back: Document) -> bool:
        return self._write(Change.RETRY, document, {**match, "cancel_requested_at": None}, back)

    @staticmethod
    def _ended(outcome: str, reason: str, message: str) -> Document:
        told: dict[str, Any] = {"reason": reason, "message": literal(message), "ended_at": "$$NOW"}
        return {**told, "attempt": {"$mergeObjects": ["$attempt", {**told, "outcome": outcome}]}}

    def _write(self, change: Change, document: Document, match: Document, set_: Document) -> bool:
        event_id = new_id()
        filter_, pipeline = transition(change, document["_id"], match=match, set_=set_, event_id=event_id)
        changed = self._tasks.find_one_and_update(filter_, pipeline, projection=CHANGED, return_document=True)
        if changed is None:
            return False
        told = {"task": document["_id"], "attempt": document["attempt"]["number"], "action": "lease_expired"}
        log.warning("lease ran out: %s", change.value, extra=told)
        self._outbox.send(document["_id"], [event for event in events_of(changed) if event.id == event_id])
        metrics.LEASES_EXPIRED.labels(status=changed["status"]).inc()
        self._tracing.ended(standing(changed))
        return True

    def _release(self) -> None:
        """What has waited long enough may be claimed."""
        due = {"not_before": {"$exists": True}, "$expr": {"$lte": ["$not_before", "$$NOW"]}}
        self._tasks.update_many(due, [{"$set": {"claim": "$lane"}}, {"$unset": "not_before"}])
        workers = self._tasks.distinct("blocked_by.worker", IS_BLOCKED)
        if not workers:
            return
        alive = seen_within(self._settings.lease_seconds * NODE_LOST_LEASES)
        known = [row["_id"] for row in self._workers.find({"_id": {"$in": workers}, "$expr": alive}, {"_id": 1})]
        self._tasks.update_many(
            {**IS_BLOCKED, "blocked_by.worker": {"$in": [worker for worker in workers if worker not in known]}},
            [{"$set": {"claim": "$lane"}}, {"$unset": "blocked_by"}],
        )
