"""The record of e-mails with notices: one document for each person, with what they are to be told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import SUMMARY_PROJECTION, after, literal, message_fields, to_summary
from keruta.domain.favourites import Favourite
from keruta.domain.messages import Message, read_message
from keruta.domain.notice_mails import GATHER_SECONDS, WAITING_MOST, Follower, MailChange, MailDue, NoticeDue
from keruta.domain.notices import NoticeChoice, watched_by
from keruta.domain.principal import Principal
from keruta.domain.task import TaskSummary
from keruta.ports import Document

SENDING_SECONDS = 120  # a turn that began so long ago is nobody's any more
FOLLOWERS_MOST = 1000  # people who are told of one event
TOLD_KEPT = 500  # events that are known to be on record, of one person
SENT_KEPT = 200  # times of e-mails


class MongoNoticeMails:
    """`keruta.ports.people.NoticeMails` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._mails = database["notice_mails"]
        self._notices = database["notices"]
        self._favourites = database["favourites"]
        self._tasks = database["tasks"]

    # ------------------------------------------------------------ who is to be told

    def facets(self, task: str) -> list[str] | None:
        with translated():
            row = self._tasks.find_one({"_id": task}, ["facets"])
        return None if row is None else list(row.get("facets") or [])

    def followers(self, facets: Sequence[str]) -> list[Follower]:
        owners = [facet.removeprefix("owner=") for facet in facets if facet.startswith("owner=")]
        entries = [{"kind": one.kind, "name": one.name} for one in watched_by(facets)]
        watching: list[Mapping[str, Any]] = [
            {"$match": {"entries": {"$in": entries}}},
            {"$lookup": {"from": "notices", "localField": "_id", "foreignField": "_id", "as": "notices"}},
            {"$match": {"notices.choice.mail": True, "notices.choice.watched": True}},
            {"$limit": FOLLOWERS_MOST},
        ]
        with translated():
            own = list(self._notices.find({"_id": {"$in": owners}, "choice.mail": True}))
            rows = list(self._favourites.aggregate(watching)) if entries else []
        found = {row["_id"]: _follower(row["_id"], row, {}) for row in own}
        return list({**found, **{row["_id"]: _follower(row["_id"], row["notices"][0], row) for row in rows}}.values())

    def follower(self, subject: str) -> Follower:
        with translated():
            notices = self._notices.find_one({"_id": subject}) or {}
            favourites = self._favourites.find_one({"_id": subject}) or {}
        return _follower(subject, notices, favourites)

    def add(self, subject: str, due: NoticeDue) -> bool:
        told, waiting = {"$ifNull": ["$told", []]}, {"$ifNull": ["$waiting", []]}
        one = literal({"event": due.event, "task": due.task, "status": due.status, "at": due.at})
        fields = {
            "told": {"$slice": [{"$concatArrays": [told, [literal(due.event)]]}, -TOLD_KEPT]},
            "waiting": {"$slice": [{"$concatArrays": [waiting, [one]]}, -WAITING_MOST]},
            "due_at": {"$ifNull": ["$due_at", after(GATHER_SECONDS)]},
        }
        with translated():
            try:
                self._mails.update_one({"_id": subject, "told": {"$ne": due.event}}, [{"$set": fields}], upsert=True)
            except DuplicateKeyError:
                return False
        return True

    # ------------------------------------------------------------ sending

    def take(self) -> MailDue | None:
        now = datetime.now(UTC)
        until = now.replace(microsecond=0) + timedelta(seconds=SENDING_SECONDS)
        with translated():
            row = self._mails.find_one_and_update(
                {"due_at": {"$lte": now}}, {"$set": {"due_at": until}, "$inc": {"tries": 1}},
                sort=[("due_at", 1)], return_document=ReturnDocument.AFTER,
            )  # fmt: skip
        if row is None:
            return None
        return MailDue(
            subject=row["_id"], taken_until=until, tries=row["tries"], sent_at=row.get("sent_at") or [],
            notices=[structs.from_plain(one, NoticeDue) for one in row.get("waiting") or []],
        )  # fmt: skip

    def settle(self, due: MailDue, change: MailChange) -> None:
        """Write what becomes of an e-mail, unless its turn is another process's by now."""
        over = {"$in": ["$$this.event", literal(list(change.over))]}
        sent = [literal(change.sent_at)] if change.sent_at is not None else []
        left = {"$filter": {"input": {"$ifNull": ["$waiting", []]}, "cond": {"$not": [over]}}}
        soon = literal(change.due_at) if change.due_at is not None else after(GATHER_SECONDS)
        fields: Document = {
            "waiting": left, "tries": change.tries,
            "sent_at": {"$slice": [{"$concatArrays": [{"$ifNull": ["$sent_at", []]}, sent]}, -SENT_KEPT]},
        }  # fmt: skip
        if change.sent_at is not None or change.said is not None:
            fields |= message_fields(change.said)
        pipeline: list[Document] = [
            {"$set": fields},
            {"$set": {"due_at": {"$cond": [{"$eq": [{"$size": "$waiting"}, 0]}, "$$REMOVE", soon]}}},
        ]
        with translated():
            self._mails.update_one({"_id": due.subject, "due_at": due.taken_until}, pipeline)

    def readable(self, who: Principal, tasks: Sequence[str]) -> dict[str, tuple[TaskSummary, list[str]]]:
        match = {"_id": {"$in": list(tasks)}, "readers": {"$in": who.readers}}
        with translated():
            rows = list(self._tasks.find(match, {**SUMMARY_PROJECTION, "facets": 1}))
        return {row["_id"]: (to_summary(row), list(row.get("facets") or [])) for row in rows}

    def last_fault(self, subject: str) -> Message | None:
        with translated():
            row = self._mails.find_one({"_id": subject}, ["message", "message_code", "message_arguments"]) or {}
        if not row.get("message"):
            return None
        return read_message(row["message"], row.get("message_code"), row.get("message_arguments"))


def _follower(subject: str, notices: Mapping[str, Any], favourites: Mapping[str, Any]) -> Follower:
    return Follower(
        subject=subject, choice=structs.from_plain(notices.get("choice") or {}, NoticeChoice),
        favourites=[structs.from_plain(one, Favourite) for one in favourites.get("entries") or []],
    )  # fmt: skip
