"""Activity of one repository, queue or worker: read by indexes, up to a fixed number of documents.

A repository's and a queue's tasks are found by their facet. A worker's have none: the newest tasks are looked through.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.ended_spans import DAYS, HOURS, counting_stages, last_days, last_hours, spans
from keruta.adapters.mongo.tasks import SUMMARY_PROJECTION, seen_keys, to_summary
from keruta.domain.activity import Activity, Place
from keruta.domain.lifecycle import ENDED, OPEN
from keruta.domain.naming import earliest_id
from keruta.domain.principal import Principal
from keruta.domain.task import TaskSummary
from keruta.remembered import Remembered

LOOKED_AT = 2000  # the newest tasks of a week
OPEN_LOOKED_AT = 2000
RECENT, AT_WORK, WAITING = 10, 50, 50
REMEMBERED_SECONDS = 10.0
REMEMBERED = 200


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of what ended within the week, in any reader's zone."""

    rows: list[dict[str, Any]]
    looked_at: int


class MongoActivity:
    """`keruta.ports.watching.Activities` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]
        self._remembered: Remembered[tuple[str, ...], _Counted] = Remembered(REMEMBERED_SECONDS, REMEMBERED)

    def of(self, who: Principal, place: Place, zone: tzinfo = UTC) -> Activity:
        """Return what goes on at a place. Its charts are ten seconds old at most."""
        now = datetime.now(UTC)
        with translated():
            key = (place.kind, place.name, *who.readers)
            found = self._remembered.of(key, lambda: self._counted(who, place, now))
            open_ones, more = self._open(who, place)
            recent = self._recent(who, place)
        waiting = [one for one in open_ones if one.status == "queued"]
        at_work = [one for one in reversed(open_ones) if one.status != "queued"]
        return Activity(
            at_work=at_work[:AT_WORK], waiting=waiting[:WAITING],
            more_open=more or len(at_work) > AT_WORK or len(waiting) > WAITING, recent=recent,
            day=spans(found.rows, last_hours(now, zone, HOURS)), week=spans(found.rows, last_days(now, zone, DAYS)),
            capped=found.looked_at >= LOOKED_AT,
        )  # fmt: skip

    def _counted(self, who: Principal, place: Place, now: datetime) -> _Counted:
        since = earliest_id(now - timedelta(days=DAYS))
        newest: list[dict[str, Any]] = [
            {"$match": {**_seen(who, place), "_id": {"$gte": since}}},
            {"$sort": {"_id": -1}},
        ]
        counted = [*newest, {"$limit": LOOKED_AT}, {"$match": _on(place)}, *counting_stages()]
        every = list(self._tasks.aggregate(counted, hint="seen_by"))
        rows = [row for row in every if row["_id"]["status"] in ENDED]
        looked_at = sum(row["count"] for row in every)
        if place.kind == "worker":  # of the newest tasks, only some were its own
            looked_at = self._tasks.count_documents(newest[0]["$match"], hint="seen_by", limit=LOOKED_AT)
        return _Counted(rows=rows, looked_at=looked_at)

    def _open(self, who: Principal, place: Place) -> tuple[list[TaskSummary], bool]:
        """Return the open tasks there, oldest first, of the oldest that the reader may see; and whether there are
        more.
        """
        if place.kind == "worker":
            match: dict[str, Any] = {"holder": place.name, "readers": {"$in": who.readers}}
            found = self._tasks.find(match, SUMMARY_PROJECTION).hint("holder").limit(OPEN_LOOKED_AT)
            return sorted((to_summary(row) for row in found), key=lambda one: one.id), False
        match = {"readers": {"$in": who.readers}, "status": {"$in": sorted(OPEN)}}
        there = _seen(who, place)
        oldest: list[dict[str, Any]] = [{"$match": match}, {"$sort": {"_id": 1}}, {"$limit": OPEN_LOOKED_AT}]
        parts = {"count": [{"$count": "count"}], "there": [{"$match": there}, {"$project": SUMMARY_PROJECTION}]}
        rows = next(iter(self._tasks.aggregate([*oldest, {"$facet": parts}], hint="readers_status")))
        more = bool(rows["count"]) and rows["count"][0]["count"] >= OPEN_LOOKED_AT
        return [to_summary(row) for row in rows["there"]], more

    def _recent(self, who: Principal, place: Place) -> list[TaskSummary]:
        """Return the tasks that ended last, of the newest ones.

        How far back these go is read from the index alone. An aggregation with a limit before the condition would
        read all of them, however soon enough are found.
        """
        seen = _seen(who, place)
        newest = self._tasks.find(seen, ["_id"]).sort("_id", -1).hint("seen_by")
        oldest = next(newest.skip(LOOKED_AT - 1).limit(1), {"_id": ""})
        ended = {**seen, "_id": {"$gte": oldest["_id"]}, **_on(place), "status": {"$in": sorted(ENDED)}}
        found = self._tasks.find(ended, SUMMARY_PROJECTION).sort("_id", -1).hint("seen_by").limit(RECENT)
        return [to_summary(row) for row in found]


def _seen(who: Principal, place: Place) -> dict[str, Any]:
    facet = place.facet
    return {"seen_by": {"$in": who.readers if facet is None else seen_keys(who.readers, facet)}}


def _on(place: Place) -> dict[str, Any]:
    return {"attempt.worker": place.name} if place.kind == "worker" else {}
