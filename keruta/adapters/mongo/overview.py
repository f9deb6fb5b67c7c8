"""The overview's numbers, counted in the database by indexes, up to a fixed number of documents."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from keruta import structs
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.ended_spans import DAYS, HOURS, counting_stages, last_days, last_hours, spans
from keruta.adapters.mongo.running import RUNNING
from keruta.adapters.mongo.spending import MongoSpending
from keruta.adapters.mongo.tasks import seen_within
from keruta.domain.catalog.budgets import Budget
from keruta.domain.lifecycle import ENDED, OPEN
from keruta.domain.messages import message
from keruta.domain.naming import earliest_id
from keruta.domain.overview import BudgetToday, Overview, Trouble, WorkerView
from keruta.domain.principal import Principal
from keruta.errors import NotFound
from keruta.remembered import Remembered

LOOKED_AT = 50_000
COUNTED = 100_000
REMEMBERED_SECONDS = 10.0
REMEMBERED = 100
BUDGETS = 1000
GONE_SECONDS = 86_400.0  # a worker that left is shown for a day


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Counts for one reader, in any zone. `rows`: ends by the quarter of an hour, in UTC."""

    at: datetime
    counts: dict[str, int]
    rows: list[dict[str, Any]]
    workers: list[WorkerView]
    troubles: list[Trouble]
    budgets: list[BudgetToday]


class MongoOverview:
    """The overview of one database.

    Args:
        lease_seconds: a worker that was not heard of for so long is not there.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._tasks = database["tasks"]
        self._workers = database["workers"]
        self._letters = database["dead_letters"]
        self._control = database["control"]
        self._queues = database["queues"]
        self._spending = MongoSpending(database)
        self._circuits = MongoCircuits(database)
        self._audit = MongoAudit(database)
        self._lease_seconds = lease_seconds
        self._remembered: Remembered[tuple[str, ...], _Counted] = Remembered(REMEMBERED_SECONDS, REMEMBERED)
        self._lock = threading.Lock()

    def of(self, who: Principal, zone: tzinfo = UTC) -> Overview:
        """Return someone's overview, with the hours and days of a zone; ten seconds old at most."""
        found = self._counted(who)
        hours = spans(found.rows, last_hours(found.at, zone, HOURS))
        return Overview(
            counts=found.counts, day=hours, week=spans(found.rows, last_days(found.at, zone, DAYS)),
            capped=sum(row["count"] for row in found.rows) >= LOOKED_AT,
            failed_today=sum(span.failed for span in hours), succeeded_today=sum(span.succeeded for span in hours),
            workers=found.workers, troubles=found.troubles, budgets=found.budgets,
        )  # fmt: skip

    def _counted(self, who: Principal) -> _Counted:
        def count() -> _Counted:
            with self._lock, translated():  # one reader's counts at a time
                return self._count(who)

        return self._remembered.of(tuple(who.readers), count)

    def _count(self, who: Principal) -> _Counted:
        mine = {"readers": {"$in": who.readers}}
        counts = {
            str(status): self._tasks.count_documents({**mine, "status": status}, hint="readers_status", limit=COUNTED)
            for status in sorted(OPEN)
        }
        now = datetime.now(UTC)
        rows = self._ended(mine, now - timedelta(days=DAYS))
        return _Counted(
            at=now, counts=counts, rows=rows, workers=self.workers(), troubles=list(self._troubles(who)),
            budgets=self._budgets(who),
        )  # fmt: skip

    def _budgets(self, who: Principal) -> list[BudgetToday]:
        """Return the budgets of the queues that someone may read, the most used first."""
        seen = {"seen_by": {"$in": who.readers}, "spec.budget": {"$ne": None}}
        rows = list(self._queues.find(seen, ["spec.budget"]).hint("seen_by").limit(BUDGETS))
        limits = {row["_id"]: structs.from_plain(row["spec"]["budget"], Budget) for row in rows}
        spent = self._spending.today(rows)
        found = [
            BudgetToday(
                **msgspec.structs.asdict(one), queue=name,
                tokens_left=_left(limits[name].tokens_per_day, one.tokens),
                usd_left=_left(limits[name].usd_per_day, one.usd),
            )
            for name, one in spent.items()
        ]  # fmt: skip
        return sorted(found, key=lambda one: (-one.used, one.queue))

    def _ended(self, mine: Mapping[str, Any], since: datetime) -> list[dict[str, Any]]:
        """Count the newest tasks submitted since, by the quarter of an hour in which they ended."""
        ended = {**mine, "status": {"$in": sorted(ENDED)}, "_id": {"$gte": earliest_id(since)}}
        stages: list[dict[str, Any]] = [
            {"$match": ended},
            {"$sort": {"_id": -1}},
            {"$limit": LOOKED_AT},
            *counting_stages(),
        ]
        return list(self._tasks.aggregate(stages, hint="readers_status"))

    # ------------------------------------------------------------ workers

    def workers(self) -> list[WorkerView]:
        """Return the workers that are there, and those that left within a day."""
        recent = {"seen_at": {"$gt": datetime.now(UTC) - timedelta(seconds=GONE_SECONDS)}}
        with translated():
            there = {row["_id"] for row in self._workers.find({"$expr": seen_within(self._lease_seconds)}, ["_id"])}
            held = self._tasks.aggregate(
                [
                    {"$match": RUNNING},
                    {"$group": {"_id": "$holder", "count": {"$sum": 1}}},
                ],
                hint="holder",
            )
            busy = {row["_id"]: row["count"] for row in held}
            rows = list(self._workers.find(recent).sort("_id", 1).limit(1000))
        return [
            WorkerView(
                id=row["_id"], slots=row["slots"], busy=busy.get(row["_id"], 0),
                there=row["_id"] in there and row.get("left_at") is None, draining=row["draining"],
                seen_at=row["seen_at"], registered_at=row["registered_at"], left_at=row.get("left_at"),
                drained_by=row.get("drained_by"), labels=row.get("labels") or {},
            )
            for row in rows
        ]  # fmt: skip

    def drain(self, who: Principal, worker: str, *, draining: bool) -> WorkerView:
        """Start or end draining a worker: it takes no new tasks, and its attempts go on. Raises NotFound."""
        change: dict[str, Any] = {"$set": {"draining": draining, **({"drained_by": who.name} if draining else {})}}
        change["$unset"] = {"draining_for": "", **({} if draining else {"drained_by": ""})}
        with translated():
            if self._workers.update_one({"_id": worker}, change).matched_count != 1:
                raise NotFound(message("worker_missing"), reason="WorkerNotFound")
            self._audit.record(who.name, "drain" if draining else "undrain", "worker", worker, readers=["everyone"])
        self._remembered.clear()
        return next(one for one in self.workers() if one.id == worker)

    # ------------------------------------------------------------ what is wrong

    def _troubles(self, who: Principal) -> Iterable[Trouble]:
        for circuit in self._circuits.page(who):
            if circuit.open:
                yield Trouble(
                    kind="circuit_open", of=f"{circuit.kind} {circuit.name}", message=circuit.message,
                    message_code=circuit.message_code, message_arguments=circuit.message_arguments,
                )  # fmt: skip
        if letters := self._letters.count_documents({"replayed_at": None}, limit=1000):
            yield Trouble(kind="dead_letters", count=letters)
        pool = self._control.find_one({"_id": "pool"}) or {}
        if pool.get("problem"):
            yield Trouble(
                kind="pool", message=str(pool["problem"]), message_code=pool.get("problem_code"),
                message_arguments=pool.get("problem_arguments"),
            )  # fmt: skip
        workers = self.workers()
        for worker in workers:
            if not worker.there and worker.left_at is None:
                yield Trouble(kind="worker_lost", of=worker.id)
        if not any(worker.there and not worker.draining for worker in workers):
            yield Trouble(kind="no_worker")


def _left(limit: float | None, spent: float) -> float | None:
    """Return what is left of a limit; None where there is none."""
    return None if limit is None else max(limit - spent, 0.0)
