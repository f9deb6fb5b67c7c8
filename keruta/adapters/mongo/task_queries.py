"""Queries of people and clients: lists, one task, why it waits, the log.

Every query is limited to what its reader may see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keruta import structs
from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.task_search import has_term, rare
from keruta.adapters.mongo.tasks import SUMMARY_PROJECTION, seen_keys, seen_within, to_summary, to_view
from keruta.domain.lifecycle import OPEN, Status
from keruta.domain.messages import Message, fields_of, message
from keruta.domain.naming import TASK_ID, attempt_id, earliest_id
from keruta.domain.permissions import may_read
from keruta.domain.principal import Principal
from keruta.domain.report_files import COVERAGE, TESTS, ReportedRun
from keruta.domain.scheduling import Lane, Running
from keruta.domain.task import TaskPage, TaskSummary, TaskView, WaitingView
from keruta.domain.task_list import Chunk, TaskFilter
from keruta.domain.waiting import Pause, Surroundings, why_not_assigned, why_not_claimed
from keruta.errors import InvalidRequest, NotFound
from keruta.ports import Document
from keruta.settings import Settings

LOG_PAGE = 100
POSITION_LIMIT = 10_000
NEEDS_PEOPLE = sorted({Status.WAITING, Status.SUSPENDED, Status.UNKNOWN})
REPORTS_OF_A_RUN = 40
NEEDING_READ = 500  # of those who wait for people: more are not looked through for one reader


_IS_REPORT = {"$regexMatch": {"input": "$$file.path", "regex": f"(?:{TESTS})|(?:{COVERAGE})", "options": "i"}}
_FILES = {"$filter": {"input": {"$ifNull": ["$$one.artifacts", []]}, "as": "file", "cond": _IS_REPORT}}
_ATTEMPTS = {"$concatArrays": [{"$ifNull": ["$past_attempts", []]}, ["$attempt"]]}
_ENDED = {"$filter": {"input": _ATTEMPTS, "as": "one", "cond": {"$ifNull": ["$$one.ended_at", False]}}}
# Of a task: its attempts that have ended, each with its files that have a report's name.
REPORTED: dict[str, Any] = {
    "created_at": 1,
    "attempts": {"$map": {"input": _ENDED, "as": "one", "in": {
        "attempt": "$$one.number", "commit": {"$ifNull": ["$$one.commit", None]},
        "artifacts": {"$slice": [_FILES, REPORTS_OF_A_RUN]},
    }}},
}  # fmt: skip


class MongoReading:
    """`keruta.ports.watching.TaskQueries` on MongoDB."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._tasks = database["tasks"]
        self._logs = database["logs"]
        self._workers = database["workers"]
        self._queues = database["queues"]
        self._assignment = MongoAssignment(database, settings)
        self._circuits = MongoCircuits(database)
        self._settings = settings

    def page(self, who: Principal, wanted: TaskFilter, *, limit: int, cursor: str | None) -> TaskPage:
        """One page, by when they were submitted. Raises InvalidRequest for a cursor that is none of ours."""
        readers = who.readers
        match: dict[str, Any] = {}
        span = {
            **({"$gte": earliest_id(wanted.since)} if wanted.since is not None else {}),
            **({"$lt": earliest_id(wanted.until)} if wanted.until is not None else {}),
        }
        if cursor is not None:
            if not TASK_ID.fullmatch(cursor):
                raise InvalidRequest.cursor()
            bound, nearer = ("$gt", max) if wanted.oldest_first else ("$lt", min)
            span[bound] = nearer(cursor, span.get(bound, cursor))
        if span:
            match["_id"] = span
        few = None
        if wanted.terms:
            with translated():
                few = rare(self._tasks, readers, wanted.terms)
            match["$and"] = [has_term(term) for term in wanted.terms]
            if few is not None:
                match["$and"].append({"_id": {"$in": few}})
        if wanted.facets:
            match["seen_by"] = {"$in": seen_keys(readers, wanted.facets[0])}
            rest = [{"seen_by": {"$in": seen_keys(readers, facet)}} for facet in wanted.facets[1:]]
            match.setdefault("$and", []).extend(rest)
            if not match["$and"]:
                del match["$and"]
        elif wanted.status is None:
            match["seen_by"] = {"$in": readers}
        if wanted.status is not None:
            match["status"] = {"$in": sorted(OPEN)} if wanted.status == "open" else wanted.status
            if not wanted.facets:
                match["readers"] = {"$in": readers}
        hint = "_id_" if few is not None else "readers_status" if "readers" in match else "seen_by"
        order = 1 if wanted.oldest_first else -1
        with translated():
            found = list(self._tasks.find(match, SUMMARY_PROJECTION).sort("_id", order).hint(hint).limit(limit + 1))
        more = len(found) > limit
        items = [to_summary(document) for document in found[:limit]]
        return TaskPage(items=items, next=items[-1].id if more else None)

    def task(self, who: Principal, task_id: str) -> TaskView:
        """One task, with why it waits. Raises NotFound, also for what the reader may not see."""
        document = self._document(who, task_id)
        view = to_view(document)
        if document["status"] in (Status.QUEUED, Status.SUSPENDED, Status.UNKNOWN):
            with translated():
                view = msgspec.structs.replace(view, waiting=self._waiting(who, document))
        return view

    def may_change(self, who: Principal, task_id: str) -> bool:
        """Return whether this person may cancel, retry and answer the task."""
        with translated():
            found = self._tasks.find_one({"_id": task_id, "managers": {"$in": who.names}}, ["_id"])
        return found is not None

    def needing(self, who: Principal, *, limit: int) -> list[TaskSummary]:
        """Return those that this person may decide, of the newest `NEEDING_READ` that wait for one.

        They are read by the index on readers and status.
        """
        match = {"readers": {"$in": who.readers}, "status": {"$in": NEEDS_PEOPLE}}
        stages: list[dict[str, Any]] = [
            {"$match": match}, {"$limit": NEEDING_READ}, {"$match": {"managers": {"$in": who.names}}},
            {"$sort": {"_id": -1}}, {"$limit": limit}, {"$project": SUMMARY_PROJECTION},
        ]  # fmt: skip
        with translated():
            return [to_summary(row) for row in self._tasks.aggregate(stages, hint="readers_status")]

    def reported(self, who: Principal, facet: str, *, before: str, limit: int) -> list[ReportedRun]:
        """Return attempts with reports among the newest `limit` tasks of a facet before another, newest first."""
        match = {"seen_by": {"$in": seen_keys(who.readers, facet)}, "_id": {"$lt": before}}
        stages: list[dict[str, Any]] = [
            {"$match": match}, {"$sort": {"_id": -1}}, {"$limit": limit}, {"$project": REPORTED},
        ]  # fmt: skip
        with translated():
            rows = list(self._tasks.aggregate(stages, hint="seen_by"))
        return [
            structs.from_plain({"task": row["_id"], "created_at": row["created_at"], **one}, ReportedRun)
            for row in rows for one in reversed(row["attempts"]) if one.get("artifacts")
        ]  # fmt: skip

    def _document(self, who: Principal, task_id: str, projection: Any = None) -> Document:
        with translated():
            document = self._tasks.find_one({"_id": task_id, "readers": {"$in": who.readers}}, projection)
        if document is None:
            raise NotFound(message("task_missing"), reason="TaskNotFound")
        return document

    # ------------------------------------------------------------ why it waits

    def _waiting(self, who: Principal, document: Document) -> WaitingView:
        if "claim" not in document:
            said = why_not_claimed(
                Status(document["status"]),
                document.get("reason"),
                document.get("not_before"),
                last_attempt_held="blocked_by" in document,
            )
            return _view(0, said)
        lane = document["claim"]
        first = {"claim": lane, "priority": {"$gt": document["priority"]}}
        older = {"claim": lane, "priority": document["priority"], "_id": {"$lt": document["_id"]}}
        position = sum(
            self._tasks.count_documents(before, hint="claim", limit=POSITION_LIMIT) for before in (first, older)
        )
        return _view(position, why_not_assigned(self._surroundings(who, lane), position))

    def _surroundings(self, who: Principal, claim: Mapping[str, str]) -> Surroundings:
        """Return the plan's inputs for this lane alone, and of their texts those that this person may read.

        Others' words are left out: what the last task of a circuit said, why a queue that they may not read is paused.
        """
        lane = Lane(**claim)
        limits = self._assignment.limits([lane])
        queue = self._queues.find_one({"_id": lane.queue}, ["paused", "readers"]) or {}
        workers = self._workers.find({"$expr": seen_within(self._settings.lease_seconds)}, ["slots", "draining"])
        return Surroundings(
            lane=lane,
            running=Running(self._assignment.running([lane]) if limits.counted else {}),
            limits=limits,
            pause=_pause(queue, who),
            circuits=self._circuits.open_of(who.readers, claim),
            slots=[None if worker["draining"] else worker["slots"] for worker in workers],
            free=sum(worker.free for worker in self._assignment.free_slots(None)),
        )

    # ------------------------------------------------------------ the log

    def log_attempt(self, who: Principal, task_id: str, attempt: int | None) -> tuple[int, bool, str]:
        """Return the attempt whose log is meant (0 before the first), whether more may still come, and the task's
        status.

        Raises:
            NotFound.
        """
        document = self._document(who, task_id, {"status": 1, "attempt_count": 1, "attempt.number": 1})
        last = int(document["attempt_count"])
        number = last if attempt is None else attempt
        if number > last:
            raise NotFound(message("attempt_no_number", number=number), reason="AttemptNotFound")
        current = (document.get("attempt") or {}).get("number")
        open_ = document["status"] not in ("succeeded", "failed", "cancelled")
        return number, open_ and (number == current or attempt is None), document["status"]

    def every_chunk(self, task_id: str, *, beyond: int | None = None) -> Iterator[Chunk]:
        """Return the logs of all attempts of a task, each in order; or of those that come after one of them.

        Attempts come by their names as texts: 1, 10, 2.
        """
        return self._chunks({"$gt": f"{task_id}-{f'{beyond}0' if beyond else ''}", "$lt": f"{task_id}."})

    def chunks(self, task_id: str, attempt: int, after: int = -1) -> Iterator[Chunk]:
        """An attempt's log after a sequence number, in order; read as it is taken, not held."""
        name = attempt_id(task_id, attempt)
        span = {"$gt": f"{name}/{after:08d}" if after >= 0 else f"{name}/", "$lt": f"{name}0"}
        return self._chunks(span)

    def _chunks(self, span: Mapping[str, str]) -> Iterator[Chunk]:
        with translated():
            for row in self._logs.find({"_id": span}).sort("_id", 1).batch_size(LOG_PAGE):
                yield Chunk(
                    attempt=row["attempt"],
                    sequence=row["sequence"],
                    at=row["at"],
                    system=row["system"],
                    data=row["data"],
                )


def _pause(queue: Mapping[str, Any], who: Principal) -> Pause | None:
    pause = queue.get("paused")
    if not pause:
        return None
    told = may_read(who, queue.get("readers") or ())
    return Pause(by=pause["by"], reason=pause["reason"]) if told else Pause()


def _view(position: int, why: Message) -> WaitingView:
    fields = fields_of(why)
    return WaitingView(
        position=position,
        why=why.text,
        message_code=fields["message_code"],
        message_arguments=fields["message_arguments"],
    )
