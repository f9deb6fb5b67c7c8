"""Spending of queues with a budget: one document for each attempt of a coding agent.

A document is `{_id: attempt's id, task, attempt, queue, submitter, day, tokens, usd, open, at}`. It is written with the
assignment, in the same transaction, and holds the reservation while it is `open`; then what was spent. So the sum of a
day's documents is what is spent or reserved, whatever happens to a process between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.catalog.budgets import WARN_FROM, WHOLE, Budget, Spent, SpentToday, day_of, settled
from keruta.domain.lifecycle import HELD
from keruta.domain.naming import attempt_id
from keruta.ports import Document

AT_ONCE = 1000


class MongoSpending:
    """The ledger of budgets on one database."""

    def __init__(self, database: Database) -> None:
        self._spending = database["spending"]
        self._queues = database["queues"]
        self._profiles = database["profiles"]
        self._tasks = database["tasks"]

    def of_day(self, queues: Iterable[str], at: datetime) -> dict[tuple[str, str], Spent]:
        """Return what is spent or reserved on a day, by queue and submitter, and by queue alone (`WHOLE`)."""
        match = {"queue": {"$in": sorted(queues)}, "day": day_of(at)}
        group = {"_id": {"q": "$queue", "s": "$submitter"}, "tokens": {"$sum": "$tokens"}, "usd": {"$sum": "$usd"}}
        found: dict[tuple[str, str], Spent] = {}
        for row in self._spending.aggregate([{"$match": match}, {"$group": group}], hint="day"):
            spent = Spent(tokens=float(row["tokens"]), usd=float(row["usd"]))
            queue = row["_id"]["q"]
            found[queue, row["_id"]["s"]] = spent
            found[queue, WHOLE] = found.get((queue, WHOLE), Spent()).with_more(spent)
        return found

    def metered(self, profiles: Iterable[str]) -> frozenset[str]:
        """Return those of the profiles whose tasks spend: that have a coding agent."""
        match = {"_id": {"$in": sorted(profiles)}, "spec.coding_agent": {"$nin": [None, "command"]}}
        return frozenset(row["_id"] for row in self._profiles.find(match, ["_id"]))

    def reserve(self, tasks: Sequence[str], session: ClientSession) -> None:
        """Reserve for the attempts that these tasks have just been given, in the assignment's own transaction."""
        now = datetime.now(UTC)
        fields = ["queue", "owner", "attempt.number"]
        match = {"_id": {"$in": list(tasks)}, "spec.prompt": {"$ne": None}}
        rows = list(self._tasks.find(match, fields, session=session))
        budgets = self.budgets({row["queue"] for row in rows}, session)
        made = []
        for row in rows:
            budget, number = budgets.get(row["queue"]), row["attempt"]["number"]
            if budget is not None:
                reserved = budget.reserved
                made.append({
                    "_id": attempt_id(row["_id"], number), "task": row["_id"], "attempt": number, "open": True,
                    "queue": row["queue"], "submitter": row["owner"], "day": day_of(now), "at": now,
                    "tokens": reserved.tokens, "usd": reserved.usd,
                })  # fmt: skip
        if made:
            self._spending.insert_many(made, session=session)

    def budgets(self, queues: Iterable[str], session: ClientSession | None = None) -> dict[str, Budget]:
        match = {"_id": {"$in": sorted(queues)}, "spec.budget": {"$type": "object"}}
        rows = self._queues.find(match, ["spec.budget"], session=session)
        return {row["_id"]: structs.from_plain(row["spec"]["budget"], Budget) for row in rows}

    def settle(self) -> int:
        """Replace the reservations of attempts that have ended by what they have spent; return how many they were."""
        with translated():
            rows = list(self._spending.find({"open": True}).hint("open").limit(AT_ONCE))
            if not rows:
                return 0
            fields = {"status": 1}
            for at in ("attempt", "past_attempts"):
                fields |= {f"{at}.{name}": 1 for name in ("number", "usage", "outcome", "execution")}
            found = {row["_id"]: row for row in self._tasks.find({"_id": {"$in": [r["task"] for r in rows]}}, fields)}
            updates = [update for row in rows if (update := _settling(row, found.get(row["task"]))) is not None]
            if updates:
                self._spending.bulk_write(updates, ordered=False)
        return len(updates)

    def today(self, rows: Sequence[Document]) -> dict[str, SpentToday]:
        """Return what queues have spent today, of those that have a budget; by their documents in the catalog."""
        budgets = {
            row["_id"]: structs.from_plain(row["spec"]["budget"], Budget) for row in rows if row["spec"].get("budget")
        }
        spent = self.of_day(budgets, datetime.now(UTC)) if budgets else {}
        shown = {}
        for name, budget in budgets.items():
            whole = spent.get((name, WHOLE), Spent())
            used = budget.used(whole)
            shown[name] = SpentToday(tokens=whole.tokens, usd=round(whole.usd, 6), used=used, warns=used >= WARN_FROM)
        return shown


def _settling(row: Mapping[str, Any], task: Mapping[str, Any] | None) -> UpdateOne | None:
    """Return the update that closes a reservation; None while its attempt may still spend."""
    reserved = Spent(tokens=row["tokens"], usd=row["usd"])
    spent = reserved  # of a task that is gone
    if task is not None:
        current = task.get("attempt") or {}
        if current.get("number") == row["attempt"] and task["status"] in HELD:
            return None
        attempts = [*(task.get("past_attempts") or ()), current]
        own: Mapping[str, Any] = next((one for one in attempts if one.get("number") == row["attempt"]), {})
        known = own.get("execution") is None or own.get("outcome") not in (None, "lost", "retried")
        spent = settled(reserved, own.get("usage"), known=known)
    change = {"$set": {"tokens": spent.tokens, "usd": spent.usd}, "$unset": {"open": ""}}
    return UpdateOne({"_id": row["_id"], "open": True}, change)
