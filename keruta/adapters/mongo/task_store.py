"""Reads how tasks stand, and writes what was decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import ReturnDocument

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.decisions import CHANGED, STANDING, changed, standing, update_of
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.decisions.values import Decision, LogSummary, Standing
from keruta.domain.lifecycle import Status
from keruta.domain.naming import new_id
from keruta.ports import Changed, Document, WorkerSlots


class MongoTaskStore:
    """`keruta.ports.TaskStore` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tasks = database["tasks"]
        self._workers = database["workers"]

    def standing(self, task_id: str, readers: Sequence[str] | None = None) -> Standing | None:
        match: Document = {"_id": task_id}
        if readers is not None:
            match["readers"] = {"$in": list(readers)}
        with translated():
            document = self._tasks.find_one(match, STANDING)
        return standing(document) if document is not None else None

    def write(self, task_id: str, decision: Decision, log: LogSummary | None = None) -> Changed | None:
        event_id = new_id()
        filter_, pipeline = update_of(task_id, decision, event_id, log)
        with translated():
            document = self._tasks.find_one_and_update(
                filter_, pipeline, projection=CHANGED, return_document=ReturnDocument.AFTER
            )
        return changed(document, decision.change, event_id) if document is not None else None

    def queued_drawing_on(self, entry: str) -> list[str]:
        match = {"draws_on": entry, "status": Status.QUEUED.value}
        with translated():
            return [row["_id"] for row in self._tasks.find(match, ["_id"]).hint("draws_on")]

    def without_entries(self, task_id: str) -> list[tuple[str, str]]:
        with translated():
            task = self._tasks.find_one({"_id": task_id}, ["named", "created_at"])
            if task is None:
                return []
            named = [tuple(entry.split(":", 1)) for entry in task.get("named") or ()]
            return [(kind, name) for kind, name in named if not self._there(kind, name, task["created_at"])]

    def grants(self, task_id: str) -> list[tuple[str, str, Access | None]]:
        found: list[tuple[str, str, Access | None]] = []
        with translated():
            task = self._tasks.find_one({"_id": task_id}, ["named"]) or {}
            for entry in task.get("named") or ():
                kind, _, name = entry.partition(":")
                if kind in ("repository", "queue"):
                    row = self._database[KINDS[kind].collection].find_one({"_id": name}, ["spec.access"]) or {}
                    found.append((kind, name, structs.from_plain(row.get("spec", {}).get("access"), Access | None)))
        return found

    def _there(self, kind: str, name: str, before: datetime) -> bool:
        """Return whether an entry exists that already existed at that time."""
        match = {"_id": name, "created_at": {"$lte": before}}
        return self._database[KINDS[kind].collection].find_one(match, ["_id"]) is not None

    def orphans(self) -> list[tuple[str, str]]:
        """One seek of the index for each lane, as the assigner makes it."""
        with translated():
            lanes = self._tasks.aggregate(
                [{"$match": {"claim": {"$type": "object"}}}, {"$sort": {"claim": 1}}, {"$group": {"_id": "$claim"}}],
                hint="claim",
            )
            wanted = sorted({row["_id"]["queue"] for row in lanes})
            if not wanted:
                return []
            there = {row["_id"] for row in self._database["queues"].find({"_id": {"$in": wanted}}, ["_id"])}
            return [(task, name) for name in wanted if name not in there
                    for task in self.queued_drawing_on(f"queue:{name}")]  # fmt: skip

    def worker(self, name: str) -> WorkerSlots | None:
        with translated():
            found = self._workers.find_one({"_id": name}, ["address"])
        return WorkerSlots(id=found["_id"], address=found.get("address"), free=0) if found else None
