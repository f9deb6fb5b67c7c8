"""People's choices of notices, and the tasks that they are told of: read by an index, up to a fixed number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import SUMMARY_PROJECTION, seen_keys, to_summary
from keruta.domain.notices import NoticeChoice
from keruta.domain.principal import Principal
from keruta.domain.task import TaskSummary

LOOKED_AT = 200  # the newest tasks that are meant
FIRST = timedelta(days=1)  # before anything was marked as seen


class MongoNotices:
    """`keruta.ports.people.Notices` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._notices = database["notices"]
        self._tasks = database["tasks"]

    def choice(self, subject: str) -> NoticeChoice:
        with translated():
            row = self._notices.find_one({"_id": subject}) or {}
        return structs.from_plain(row.get("choice") or {}, NoticeChoice)

    def choose(self, subject: str, choice: NoticeChoice) -> None:
        with translated():
            self._notices.update_one({"_id": subject}, {"$set": {"choice": msgspec.to_builtins(choice)}}, upsert=True)

    def see(self, subject: str) -> None:
        """All that there is now has been seen, by the server's time."""
        with translated():
            self._notices.update_one({"_id": subject}, [{"$set": {"seen_at": "$$NOW"}}], upsert=True)

    def seen_at(self, subject: str) -> datetime:
        with translated():
            row = self._notices.find_one({"_id": subject}, ["seen_at"]) or {}
        found = row.get("seen_at")
        return found if isinstance(found, datetime) else datetime.now(UTC) - FIRST

    def found(self, who: Principal, facets: Sequence[str], statuses: Sequence[str], *, limit: int) -> list[TaskSummary]:
        """Return the newest tasks of any of the facets that have such a status, last changed first."""
        stages: list[dict[str, Any]] = [
            {"$sort": {"changed_at": -1, "_id": -1}},
            {"$limit": limit},
            {"$project": SUMMARY_PROJECTION},
        ]
        return [to_summary(row) for row in self._meant(who, facets, statuses, stages)]

    def unseen(self, who: Principal, facets: Sequence[str], statuses: Sequence[str]) -> int:
        """Count those of them that changed after this person has seen their notices last."""
        since = {"changed_at": {"$gt": self.seen_at(who.subject)}}
        rows = self._meant(who, facets, statuses, [{"$match": since}, {"$count": "count"}])
        return int(rows[0]["count"]) if rows else 0

    def _meant(
        self, who: Principal, facets: Sequence[str], statuses: Sequence[str], more: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        if not facets:
            return []
        match = {"seen_by": {"$in": seen_keys(who.readers, *facets)}}
        stages: list[Mapping[str, Any]] = [
            {"$match": match}, {"$sort": {"_id": -1}}, {"$limit": LOOKED_AT},
            {"$match": {"status": {"$in": list(statuses)}}}, *more,
        ]  # fmt: skip
        with translated():
            return list(self._tasks.aggregate(stages, hint="seen_by"))
