"""The need for workers: tasks that run or could run, and the attempts of each worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pymongo import ReturnDocument

from keruta.adapters.mongo.assignments import MongoAssignment, lane_key
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.running import held_by
from keruta.adapters.mongo.tasks import after, seen_within
from keruta.domain.messages import Message, fields_of
from keruta.domain.scaling import WorkerState
from keruta.domain.scheduling import Running, room
from keruta.settings import Settings

EVERY_SECONDS = 4.0  # a round for each tick, whichever process gets it
ROUND_SECONDS = 60.0  # a process that died in its round keeps others waiting no longer
_ID = {"_id": "pool"}


class MongoPool:
    """`keruta.services.autoscaler.PoolStore` on MongoDB."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._assignment = MongoAssignment(database, settings)
        self._control = database["control"]
        self._tasks = database["tasks"]
        self._workers = database["workers"]
        self._lease_seconds = settings.lease_seconds

    def take_turn(self) -> bool:
        with translated():
            self._control.update_one(_ID, {"$setOnInsert": {"next_at": None}}, upsert=True)
            free = {"$or": [{"next_at": None}, {"$expr": {"$lte": ["$next_at", "$$NOW"]}}]}
            taken = [{"$set": {"next_at": after(ROUND_SECONDS)}}]
            return self._control.update_one({**_ID, **free}, taken).modified_count == 1

    def end_turn(self, wanted: int, problem: Message | None) -> None:
        said = {"next_at": after(EVERY_SECONDS), "wanted": wanted, "at": "$$NOW"}
        fields = fields_of(problem)
        said |= {"problem": {"$literal": fields["message"]}} | {
            f"problem_{name}": {"$literal": fields[f"message_{name}"]} for name in ("code", "arguments")
        }
        with translated():
            self._control.update_one(_ID, [{"$set": said}])

    def tasks(self, most: int) -> int:
        lanes = self._assignment.waiting_lanes()
        by_lane = self._assignment.running(lanes)
        running = Running(by_lane)
        limits = self._assignment.limits(lanes)
        count = sum(by_lane.values())
        for lane in lanes:
            if count >= most:
                break
            fits = min(room(lane, running, limits), most - count)
            if fits > 0:
                with translated():
                    waiting = self._tasks.count_documents({"claim": lane_key(lane)}, limit=int(fits), hint="claim")
                running.add(lane, waiting)
                count += waiting
        return min(count, most)

    def highest(self, wanted: int, seconds: float) -> int:
        recent = {"$gte": ["$$this.at", {"$subtract": ["$$NOW", int(seconds * 1000)]}]}
        kept = {"$filter": {"input": {"$ifNull": ["$recent", []]}, "cond": recent}}
        with translated():
            pool = self._control.find_one_and_update(
                _ID,
                [{"$set": {"recent": {"$concatArrays": [kept, [{"at": "$$NOW", "wanted": wanted}]]}}}],
                return_document=ReturnDocument.AFTER,
                upsert=True,
            )
        assert pool is not None
        return max(int(one["wanted"]) for one in pool["recent"])

    def workers(self) -> Mapping[str, WorkerState]:
        heard = {"left_at": None, "$expr": seen_within(self._lease_seconds)}
        with translated():
            rows = list(self._workers.find(heard, ["draining"]))
            held = held_by(row["_id"] for row in rows)
            counts: dict[str, int] = {
                row["_id"]: row["count"]
                for row in self._tasks.aggregate(
                    [{"$match": held}, {"$group": {"_id": "$holder", "count": {"$sum": 1}}}], hint="holder"
                )
            }
        return {
            row["_id"]: WorkerState(id=row["_id"], held=counts.get(row["_id"], 0), draining=row["draining"])
            for row in rows
        }

    def drain(self, workers: Collection[str]) -> None:
        ours: dict[str, Any] = {"draining_for": "pool"}
        with translated():
            self._workers.update_many(
                {"_id": {"$in": list(workers)}, "draining": False}, {"$set": {"draining": True, **ours}}
            )
            self._workers.update_many(
                {"_id": {"$nin": list(workers)}, **ours}, {"$set": {"draining": False}, "$unset": ours}
            )
