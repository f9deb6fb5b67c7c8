"""Metrics of all tasks and workers, from the database."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.running import HELD_BY_ANYONE, running_on
from keruta.adapters.mongo.spending import MongoSpending
from keruta.adapters.mongo.tasks import seen_within
from keruta.domain.lifecycle import HELD
from keruta.errors import Unavailable


class Figures(Collector):
    """Collector of metrics of the whole system, read from the database at each scrape.

    Args:
        lease_seconds: a worker that was not seen for so long is not there.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with translated():
                yield from self._tasks()
                yield from self._workers()
                yield from self._troubles()
        except Unavailable:
            return  # the rest of the page is there all the same

    def _tasks(self) -> Iterator[GaugeMetricFamily]:
        """Count the tasks that have not ended; each count is by an index that holds no others."""
        tasks = self._database["tasks"]
        counts = {
            row["_id"]: row["count"]
            for row in tasks.aggregate(
                [
                    {"$match": HELD_BY_ANYONE},
                    {"$group": {"_id": "$status", "count": {"$sum": 1}}},
                ],
                hint="holder",
            )
        }
        counts["queued"] = sum(
            tasks.count_documents({field: {"$exists": True}}, hint=hint)
            for field, hint in (("claim", "claim"), ("not_before", "not_before"), ("blocked_by", "blocked_by"))
        )
        counts["suspended"] = tasks.count_documents({"answer_until": {"$exists": True}}, hint="answer_until")
        family = GaugeMetricFamily("keruta_tasks", "Tasks that have not ended, by status.", labels=["status"])
        for status in ("queued", "suspended", *sorted(HELD)):
            family.add_metric([status], counts.get(status, 0))
        yield family

    def _workers(self) -> Iterator[GaugeMetricFamily]:
        heard = {"left_at": None, "$expr": seen_within(self._lease_seconds)}
        rows = list(self._database["workers"].find(heard, ["slots", "draining"]))
        yield GaugeMetricFamily("keruta_workers", "Workers that were heard of within a lease.", value=len(rows))
        held = running_on(row["_id"] for row in rows)
        busy = self._database["tasks"].count_documents(held, hint="holder")
        family = GaugeMetricFamily(
            "keruta_worker_slots", "Workers' slots, by whether they are taken.", labels=["state"]
        )
        family.add_metric(["busy"], busy)
        family.add_metric(["free"], max(sum(row["slots"] for row in rows if not row["draining"]) - busy, 0))
        yield family

    def _troubles(self) -> Iterator[GaugeMetricFamily]:
        letters = self._database["dead_letters"].count_documents({"replayed_at": None})
        yield GaugeMetricFamily("keruta_dead_letters", "Events that were not delivered, nor replayed.", value=letters)
        circuits = self._database["circuits"].count_documents({"open": True})
        yield GaugeMetricFamily("keruta_circuits_open", "Repositories, profiles and queues held back.", value=circuits)
        budgets = GaugeMetricFamily(
            "keruta_budget_used_ratio", "Used or reserved share of a queue's budget for today.", labels=["queue"]
        )
        rows = list(self._database["queues"].find({"spec.budget": {"$type": "object"}}, ["spec.budget"]))
        for queue, spent in MongoSpending(self._database).today(rows).items():
            budgets.add_metric([queue], spent.used)
        yield budgets
        pool = self._database["control"].find_one({"_id": "pool"}) or {}
        yield GaugeMetricFamily(
            "keruta_pool_workers_wanted", "Workers that there should be.", value=pool.get("wanted", 0)
        )
        yield GaugeMetricFamily(
            "keruta_pool_problem", "1 while the pool can't be sized.", value=int(pool.get("problem") is not None)
        )
