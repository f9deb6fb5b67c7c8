"""Due and sent posts about tasks at forges.

`tasks.forge_due` is there while a task's forge is to be told of it; every change of status sets it. A post is
`{_id, task, kind, key, state, digest, tries, remote, url, …}`; `digest` is of what was told, or tried, last. A forge's
document in `forge_turns` says which process speaks to it, and until when it is to be left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import to_view
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_posts import Posted
from keruta.domain.forge_reports import PostView, Report
from keruta.domain.messages import Message, fields_of
from keruta.domain.naming import new_id
from keruta.ports.forges import DueReport, KnownPost

TURN_SECONDS = 120  # longer than a task's requests take


class MongoReports:
    """`keruta.ports.forges.ReportStore` and `Posts` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]
        self._triggers = database["triggers"]
        self._posts = database["forge_posts"]
        self._turns = database["forge_turns"]

    # ------------------------------------------------------------ whose turn it is

    def due_forges(self) -> list[str]:
        with translated():
            there = {"forge_due": {"$exists": True, "$lte": datetime.now(UTC)}, "origin.forge": {"$gt": ""}}
            return sorted(self._tasks.distinct("origin.forge", there))

    def hold(self, forge: str) -> str | None:
        now, holder = datetime.now(UTC), new_id()
        free = {"_id": forge, "until": {"$lte": now}, "rests_until": {"$not": {"$gt": now}}}
        turn = {"$set": {"holder": holder, "until": now + timedelta(seconds=TURN_SECONDS)}}
        with translated():
            try:
                self._turns.update_one(free, turn, upsert=True)
            except DuplicateKeyError:
                return None
        return holder

    def next(self, forge: str, holder: str) -> DueReport | None:
        now = datetime.now(UTC)
        mine = {"_id": forge, "holder": holder, "until": {"$gt": now}, "rests_until": {"$not": {"$gt": now}}}
        with translated():
            until = {"$set": {"until": now + timedelta(seconds=TURN_SECONDS)}}
            if self._turns.update_one(mine, until).matched_count != 1:
                return None
            row = self._tasks.find_one(
                {"origin.forge": forge, "forge_due": {"$exists": True, "$lte": now}}, sort=[("forge_due", 1)],
                hint="forge_due",
            )  # fmt: skip
            if row is None:
                return None
            trigger = self._triggers.find_one({"_id": row["origin"]["trigger"]}, ["spec"])
        spec = structs.from_plain(trigger["spec"], TriggerSpec) if trigger is not None else None
        return DueReport(task=to_view(row), trigger=spec, forge=forge, since=row["forge_due"])

    def release(self, forge: str, holder: str) -> None:
        with translated():
            self._turns.update_one({"_id": forge, "holder": holder}, {"$set": {"until": datetime.now(UTC)}})

    def rest(self, forge: str, seconds: float) -> None:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        with translated():
            self._turns.update_one({"_id": forge}, {"$max": {"rests_until": until}})

    # ------------------------------------------------------------ what was told

    def known(self, due: DueReport, report: Report) -> KnownPost:
        with translated():
            own = self._posts.find_one({"_id": _id(due, report)}) or {}
            newest = self._posts.find_one({"key": report.key}, ["task"], sort=[("task", -1)])
            there = {"key": report.key, "remote": {"$exists": True}}
            posted = self._posts.find_one(there, ["remote"], sort=[("task", -1)]) or {}
        same = own.get("digest") == report.digest
        return KnownPost(
            settled=same and own["state"] != "waiting",
            newer=newest is not None and newest["task"] > due.task.id,
            remote=posted.get("remote"), tries=own.get("tries", 0) if same else 0,
        )  # fmt: skip

    def told(self, due: DueReport, report: Report, posted: Posted | None, said: Message) -> None:
        url = posted.url if posted is not None and posted.url.startswith(("https://", "http://")) else None
        fields: dict[str, Any] = {"state": "sent", "tries": 0, **fields_of(said)}
        if posted is not None:
            fields |= {"remote": posted.id, **({"url": url} if url else {})}
        self._note(due, report, fields)

    def failed(self, due: DueReport, report: Report, said: Message, *, final: bool) -> None:
        own = {"_id": _id(due, report), "digest": report.digest}
        with translated():
            tries = (self._posts.find_one(own, ["tries"]) or {}).get("tries", 0) + 1
        self._note(due, report, {"state": "failed" if final else "waiting", "tries": tries, **fields_of(said)})

    def superseded(self, due: DueReport, report: Report) -> None:
        self._note(due, report, {"state": "superseded"})

    def _note(self, due: DueReport, report: Report, fields: dict[str, Any]) -> None:
        about = {"task": due.task.id, "kind": report.kind, "key": report.key, "digest": report.digest}
        with translated():
            self._posts.update_one(
                {"_id": _id(due, report)}, {"$set": {**about, **fields, "updated_at": datetime.now(UTC)}}, upsert=True
            )

    def done(self, due: DueReport, again_seconds: float | None) -> None:
        same = {"_id": due.task.id, "forge_due": due.since}
        change: dict[str, Any] = {"$unset": {"forge_due": ""}}
        if again_seconds is not None:
            change = {"$set": {"forge_due": datetime.now(UTC) + timedelta(seconds=again_seconds)}}
        with translated():
            self._tasks.update_one(same, change)

    def of(self, task: str) -> list[PostView]:
        with translated():
            return [_shown(row) for row in self._posts.find({"task": task}).sort("kind", 1).hint("task")]

    def pull_requests(self, tasks: Sequence[str]) -> list[PostView]:
        with translated():
            wanted = {"task": {"$in": list(tasks)}, "kind": "pull_request", "state": {"$ne": "superseded"}}
            return [_shown(row) for row in self._posts.find(wanted).sort("_id", -1).hint("task")]


def _id(due: DueReport, report: Report) -> str:
    return f"{due.task.id}/{report.kind}"


def _shown(row: dict[str, Any]) -> PostView:
    return structs.from_plain({k: v for k, v in row.items() if k in PostView.__struct_fields__}, PostView)
