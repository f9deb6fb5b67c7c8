"""Keeps logs: numbered chunks, a repeated one is a no-op; and what a task's record says of its log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import literal
from keruta.domain.decisions.values import LogSummary
from keruta.domain.naming import attempt_id
from keruta.domain.reports import LogChunk
from keruta.ports import Document

TAIL_PARTS = 16  # the database can't join bytes, so the tail is kept as the ends of the last batches
DUPLICATE_KEY = 11000


class MongoLogs:
    """`keruta.ports.LogStore` on MongoDB.

    Args:
        days: how long chunks are kept.
    """

    def __init__(self, database: Database, days: float) -> None:
        self._tasks = database["tasks"]
        # On record before its sender is answered, and before the end of the attempt is written: the driver repeats a
        # write on a database that was started anew and may have lost what was not.
        self._logs = database["logs"].with_options(write_concern=WriteConcern("majority"))
        self._days = days

    def store(self, chunks: Sequence[LogChunk]) -> list[LogChunk]:
        expires_at = datetime.now(UTC) + timedelta(days=self._days)
        by_id = {_id(chunk): chunk for chunk in chunks}
        documents = [_document(chunk, expires_at) for chunk in by_id.values()]
        with translated():
            try:
                self._logs.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != DUPLICATE_KEY for failure in failures):
                    raise
                return [by_id[failure["op"]["_id"]] for failure in failures]
        return []

    def known(self, chunks: Sequence[LogChunk]) -> list[LogChunk]:
        by_id = {_id(chunk): chunk for chunk in chunks}
        with translated():
            return [by_id[row["_id"]] for row in self._logs.find({"_id": {"$in": list(by_id)}}, ["_id"])]

    def note(self, task_id: str, attempt: int, summary: LogSummary) -> None:
        with translated():
            match = {"_id": task_id, "attempt.number": attempt}
            self._tasks.update_one(match, [{"$set": {"log": log_expression(summary)}}])


def _id(chunk: LogChunk) -> str:
    return f"{attempt_id(chunk.task, chunk.attempt)}/{chunk.sequence:08d}"


def _document(chunk: LogChunk, expires_at: datetime) -> Document:
    return {
        "_id": _id(chunk),
        "task": chunk.task,
        "attempt": chunk.attempt,
        "sequence": chunk.sequence,
        "offset": chunk.offset_bytes,
        "at": chunk.at,
        "system": chunk.system,
        "data": chunk.data,
        "expires_at": expires_at,
    }


def log_expression(summary: LogSummary) -> dict[str, Any]:
    """Return the expression that updates a task's log summary with these chunks; unchanged if it has later ones."""
    known = {"$ifNull": ["$log.tail", []]}
    part = [literal(summary.tail)]
    fresh: dict[str, Any] = {
        "next_sequence": summary.next_sequence,
        "bytes": summary.size_bytes,
        "tail": {"$slice": [{"$concatArrays": [known, part]}, -TAIL_PARTS]} if summary.tail else known,
    }
    newer = {"$gt": [summary.next_sequence, {"$ifNull": ["$log.next_sequence", 0]}]}
    return {"$cond": [newer, {"$mergeObjects": [{"$ifNull": ["$log", {}]}, fresh]}, "$log"]}
