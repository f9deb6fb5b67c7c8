"""Queries and writes of the tick: expired leases, elapsed backoffs, lost workers."""

from __future__ import annotations

from collections.abc import Sequence

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.decisions import STANDING, standing
from keruta.adapters.mongo.outage_guard import Pulse
from keruta.adapters.mongo.running import WITH_LEASE, held_by
from keruta.adapters.mongo.tasks import IS_BLOCKED, literal, seen_within
from keruta.domain.decisions.values import Standing
from keruta.ports import ClusterWorker, Document
from keruta.settings import Settings

NODE_LOST_LEASES = 1.0
HANDED_OVER_LEASES = 0.5  # three heartbeats: before the leases of what has not started run out
FORGOTTEN_AFTER_SECONDS = 3600


class MongoExpiry:
    """`keruta.ports.ExpiryStore` on MongoDB."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._tasks = database["tasks"]
        self._workers = database["workers"]
        self._settings = settings
        self._pulse = Pulse(database, settings.lease_seconds)

    def note_report(self) -> None:
        with translated():
            self._pulse.reported()

    def note_tick(self) -> bool:
        with translated():
            return self._pulse.ticked()

    def expired(self) -> list[Standing]:
        with translated():
            found = self._tasks.find({**WITH_LEASE, "$expr": {"$lt": ["$lease_until", "$$NOW"]}}, STANDING)
            return [standing(document) for document in found.sort("lease_until", 1).hint("lease_until")]

    def unanswered(self) -> list[Standing]:
        late = {"answer_until": {"$exists": True}, "$expr": {"$lt": ["$answer_until", "$$NOW"]}}
        with translated():
            return [standing(document) for document in self._tasks.find(late, STANDING).hint("answer_until")]

    def release_due(self) -> None:
        due = {"not_before": {"$exists": True}, "$expr": {"$lte": ["$not_before", "$$NOW"]}}
        with translated():
            self._tasks.update_many(due, [{"$set": {"claim": "$lane"}}, {"$unset": "not_before"}])

    def release_from_lost_workers(self) -> None:
        alive = seen_within(self._settings.lease_seconds * NODE_LOST_LEASES)
        with translated():
            workers = self._tasks.distinct("blocked_by.worker", IS_BLOCKED)
            if not workers:
                return
            known = [row["_id"] for row in self._workers.find({"_id": {"$in": workers}, "$expr": alive}, {"_id": 1})]
            lost = {**IS_BLOCKED, "blocked_by.worker": {"$in": [worker for worker in workers if worker not in known]}}
            self._tasks.update_many(lost, [{"$set": {"claim": "$lane"}}, {"$unset": "blocked_by"}])

    # ------------------------------------------------------------ handing over

    def cluster_workers(self) -> list[ClusterWorker]:
        seen = seen_within(self._settings.lease_seconds * HANDED_OVER_LEASES)
        fields: Document = {"slots": 1, "alive": {"$and": [seen, {"$not": ["$left_at"]}]}}
        with translated():
            rows = list(self._workers.find({"runner": "kubernetes"}, fields))
        return [ClusterWorker(id=row["_id"], slots=row["slots"], alive=bool(row["alive"])) for row in rows]

    def held_by(self, workers: Sequence[str]) -> list[str]:
        with translated():
            return [row["_id"] for row in self._tasks.find(held_by(workers), ["_id"]).hint("holder")]

    def hand_over(self, task_id: str, workers: Sequence[str], heir: str) -> None:
        given = [{"$set": {"holder": literal(heir), "attempt.worker": literal(heir)}}]
        with translated():
            self._tasks.update_one({"_id": task_id, **held_by(workers)}, given)

    def forget(self, workers: Sequence[str]) -> None:
        long_gone = {"$lt": ["$seen_at", {"$subtract": ["$$NOW", FORGOTTEN_AFTER_SECONDS * 1000]}]}
        with translated():
            self._workers.delete_many({"_id": {"$in": list(workers)}, "$expr": long_gone})
