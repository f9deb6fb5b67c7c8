"""Reads and writes of the assigner: lanes by their index, and a guarded write under its epoch."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

from keruta import structs
from keruta.adapters.mongo.circuits import OPEN_CIRCUITS, MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.decisions import update_of
from keruta.adapters.mongo.joint_reads import Part, read_together
from keruta.adapters.mongo.running import RUNNING, running_on
from keruta.adapters.mongo.spending import MongoSpending
from keruta.adapters.mongo.tasks import after, seen_within
from keruta.domain.catalog.budgets import WHOLE, Budget, Spent
from keruta.domain.decisions.assignment import on_assign
from keruta.domain.events import Event, task_event
from keruta.domain.lifecycle import Status
from keruta.domain.naming import NAME, new_id
from keruta.domain.scheduling import Candidate, Choice, Lane, Limits
from keruta.ports import Assignments, Document, PlanOutdated, WorkerSlots
from keruta.settings import Settings

ASSIGNER_SECONDS = 3.0
EPOCH_BITS = 62
_LIVE_LEASES = 1.0  # a worker not seen for one lease is given nothing


class MongoAssignment:
    """`keruta.ports.AssignmentStore` on MongoDB."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._client = database.client
        self._tasks = database["tasks"]
        self._control = database["control"]
        # The lease of 3 s is a courtesy; what guards the data is the epoch in the transaction.
        self._quick = database["control"].with_options(write_concern=WriteConcern(w=1))
        self._circuits = MongoCircuits(database)
        self._spending = MongoSpending(database)
        self._settings = settings

    def take_assigner(self) -> int | None:
        """Take the lease under an epoch that nobody else has had, also if a crash loses who had it before."""
        epoch = secrets.randbits(EPOCH_BITS)
        free = {"$lte": ["$until", "$$NOW"]}  # null comes before every time
        taken = {
            "epoch": {"$cond": [free, epoch, "$epoch"]},
            "until": {"$cond": [free, after(ASSIGNER_SECONDS), "$until"]},
            "wanted": {"$not": [free]},
        }
        with translated():
            document = self._quick.find_one_and_update(
                {"_id": "assigner"}, [{"$set": taken}], ["epoch"], return_document=ReturnDocument.AFTER
            )
        return epoch if document and document["epoch"] == epoch else None

    def release_assigner(self, epoch: int) -> bool:
        own = {"_id": "assigner", "epoch": epoch}
        with translated():
            document = self._quick.find_one_and_update(own, {"$set": {"until": None}}, ["wanted"])
        return bool(document and document["wanted"])

    def free_slots(self, worker: str | None) -> list[WorkerSlots]:
        with translated():
            return _free(read_together(self._database, self._slots(worker)))

    def waiting(self, worker: str | None) -> tuple[Mapping[Lane, Sequence[Candidate]], list[WorkerSlots]]:
        """One seek of the index for each lane (a distinct scan)."""
        with translated():
            rows = read_together(self._database, [_HEADS, *self._slots(worker)], hint="claim")
        return _lanes(rows), _free(rows)

    def waiting_lanes(self) -> Mapping[Lane, Sequence[Candidate]]:
        with translated():
            return _lanes(read_together(self._database, [_HEADS], hint="claim"))

    def _slots(self, worker: str | None) -> list[Part]:
        """Read the live workers, all or one, and how many tasks run on each."""
        live = seen_within(self._settings.lease_seconds * _LIVE_LEASES)
        match: dict[str, Any] = {"draining": False, "slots": {"$gt": 0}, "$expr": live}
        if worker is not None:
            match["_id"] = worker
        count = {"$group": {"_id": "$holder", "count": {"$sum": 1}}}
        return [
            Part("workers", [{"$match": match}, {"$project": {"slots": 1, "address": 1}}]),
            Part("tasks", [{"$match": RUNNING if worker is None else running_on([worker])}, count], name="busy"),
        ]

    def candidates(self, lane: Lane, most: int) -> Sequence[Candidate]:
        with translated():
            found = (
                self._tasks.find({"claim": lane_key(lane)}, {"priority": 1})
                .sort([("claim", 1), ("priority", -1), ("_id", 1)])
                .hint("claim")
                .limit(most)
            )
            return [Candidate(rank=-row["priority"], id=row["_id"]) for row in found]

    def running(self, lanes: Iterable[Lane]) -> Mapping[Lane, int]:
        del lanes
        with translated():
            rows = list(
                self._tasks.aggregate([{"$match": RUNNING}, {"$group": {"_id": "$lane", "count": {"$sum": 1}}}])
            )
        return {Lane(**row["_id"]): row["count"] for row in rows}

    def limits(self, lanes: Iterable[Lane]) -> Limits:
        lanes = list(lanes)
        names = sorted({lane.queue for lane in lanes})
        known = sorted({lane.repository for lane in lanes if NAME.fullmatch(lane.repository)})
        wanted = ["spec.max_running", "spec.weight", "spec.budget", "paused"]
        limited = {"_id": {"$in": known}, "spec.max_running": {"$ne": None}}
        parts = [
            Part("queues", [{"$match": {"_id": {"$in": names}}}, {"$project": dict.fromkeys(wanted, 1)}]),
            Part("repositories", [{"$match": limited}, {"$project": {"spec.max_running": 1}}]),
            Part("circuits", OPEN_CIRCUITS),
        ]
        with translated():
            rows = read_together(self._database, parts)
        most: dict[str, dict[str, int]] = {"queue": {}, "repository": {}, "profile": {}, "credential": {}}
        for row in rows["queues"]:
            if row.get("paused"):
                most["queue"][row["_id"]] = 0
            elif row["spec"].get("max_running") is not None:
                most["queue"][row["_id"]] = row["spec"]["max_running"]
        for row in rows["repositories"]:
            most["repository"][row["_id"]] = row["spec"]["max_running"]
        for row in rows["circuits"]:
            known_most = most[row["kind"]]
            known_most[row["name"]] = min(known_most.get(row["name"], 1), int(row["due"]))
        keys = self._circuits.keys(most["credential"]) if most["credential"] else {}
        weights = {row["_id"]: row["spec"]["weight"] for row in rows["queues"] if row["spec"].get("weight")}
        budgets, metered = self._budgets(lanes, rows["queues"])
        return Limits(
            queues=most["queue"], repositories=most["repository"], profiles=most["profile"], weights=weights,
            budgets=budgets, metered=metered, credentials=most["credential"], keys=keys,
        )  # fmt: skip

    def _budgets(
        self, lanes: Iterable[Lane], queues: Iterable[Mapping[str, Any]]
    ) -> tuple[dict[tuple[str, str], int], frozenset[str]]:
        """Return how many attempts today's budgets still cover, and which profiles spend them."""
        budgets = {row["_id"]: structs.from_plain(row["spec"]["budget"], Budget) for row in queues
                   if row["spec"].get("budget")}  # fmt: skip
        concerned = [lane for lane in lanes if lane.queue in budgets]
        if not concerned:
            return {}, frozenset()
        with translated():
            metered = self._spending.metered({lane.profile for lane in concerned})
            spent = self._spending.of_day(budgets, datetime.now(UTC)) if metered else {}
        rooms = {}
        for lane in concerned:
            for submitter in (WHOLE, lane.submitter):
                used = spent.get((lane.queue, submitter), Spent())
                rooms[lane.queue, submitter] = budgets[lane.queue].room(used, of_submitter=submitter != WHOLE)
        return rooms, metered

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Assignments:
        events: list[tuple[str, Event]] = []
        updates = []
        for choice in choices:
            event_id = new_id()
            decision = on_assign(choice.worker, self._settings.lease_seconds)
            filter_, pipeline = update_of(choice.task, decision, event_id)
            updates.append(UpdateOne(filter_, pipeline))
            said: dict[str, str | int | None] = {"task": choice.task, "status": Status.ASSIGNED.value}
            kind = task_event(Status.ASSIGNED.value)
            events.append((choice.task, Event(id=event_id, type=kind, subject=choice.task, data=said)))
        with translated(), self._client.start_session() as session:
            try:
                with session.start_transaction(write_concern=WriteConcern("majority")):
                    own = {"_id": "assigner", "epoch": epoch}
                    held = [{"$set": {"until": None if release else after(ASSIGNER_SECONDS)}}]
                    lease = self._control.find_one_and_update(own, held, ["wanted"], session=session)
                    if lease is None:
                        raise PlanOutdated("another assigner has taken over")
                    written = self._tasks.bulk_write(updates, ordered=False, session=session)
                    if written.modified_count != len(updates):
                        raise PlanOutdated("a task has moved")
                    if spending := [choice.task for choice in choices if choice.spends]:
                        self._spending.reserve(spending, session)
            except OperationFailure as error:
                if error.has_error_label("TransientTransactionError"):
                    raise PlanOutdated(f"the database asks for another try: {error.code}") from error
                raise
        return Assignments(events=events, wanted=bool(release and lease["wanted"]))


# The head of each lane that waits.
_HEADS = Part(
    "tasks",
    [
        {"$match": {"claim": {"$type": "object"}}},  # $exists would fetch each document
        {"$sort": {"claim": 1, "priority": -1, "_id": 1}},
        {"$group": {"_id": "$claim", "id": {"$first": "$_id"}, "priority": {"$first": "$priority"}}},
    ],
)


def _lanes(rows: Mapping[str, Sequence[Document]]) -> dict[Lane, list[Candidate]]:
    return {Lane(**row["_id"]): [Candidate(rank=-row["priority"], id=row["id"])] for row in rows["tasks"]}


def _free(rows: Mapping[str, Sequence[Document]]) -> list[WorkerSlots]:
    busy = {row["_id"]: row["count"] for row in rows["busy"]}
    return [
        WorkerSlots(id=row["_id"], address=row.get("address"), free=row["slots"] - busy.get(row["_id"], 0))
        for row in rows["workers"]
        if row["slots"] > busy.get(row["_id"], 0)
    ]


def lane_key(lane: Lane) -> dict[str, str]:
    """A lane as it stands in a task: with its fields in this order, or it would be another value."""
    return {
        "queue": lane.queue,
        "submitter": lane.submitter,
        "repository": lane.repository,
        "profile": lane.profile,
    }
