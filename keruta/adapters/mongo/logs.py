"""Keeps logs: numbered chunks, a repeated one is a no-op; and what a task's record says of its log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.outcomes import ACCEPTED, REPEAT, not_theirs
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id
from keruta.domain.reports import TAIL_LIMIT_BYTES, AnyEntry, LogChunk, Outcome, refused
from keruta.ports import Document, Sender
from keruta.settings import Settings

TAIL_PARTS = 16  # the database can't join bytes, so the tail is kept as the ends of the last batches
DUPLICATE_KEY = 11000


class MongoLogs:
    """The chunks of all attempts' logs."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._logs = database["logs"].with_options(write_concern=WriteConcern(w=1))
        self._settings = settings

    def store(
        self,
        sender: Sender,
        entries: Sequence[AnyEntry],
        documents: dict[str, Document],
        outcomes: list[Outcome | None],
    ) -> None:
        expires_at = datetime.now(UTC) + timedelta(days=self._settings.log_days)
        chunks: dict[str, tuple[int, Document]] = {}
        for number, entry in enumerate(entries):
            if not isinstance(entry, LogChunk):
                continue
            outcomes[number] = _chunk_refusal(sender, entry, documents.get(entry.task), self._settings.log_limit_bytes)
            if outcomes[number] is None:
                chunk = _chunk_document(entry, expires_at)
                chunks[chunk["_id"]] = number, chunk
                outcomes[number] = ACCEPTED
        if not chunks:
            return
        try:
            self._logs.insert_many([chunk for _, chunk in chunks.values()], ordered=False)
        except BulkWriteError as error:
            for failure in error.details["writeErrors"]:
                if failure["code"] != DUPLICATE_KEY:
                    raise
                outcomes[chunks[failure["op"]["_id"]][0]] = REPEAT


def _chunk_refusal(sender: Sender, entry: LogChunk, document: Document | None, limit: int) -> Outcome | None:
    if entry.offset_bytes + len(entry.data) > limit + TAIL_LIMIT_BYTES * 32:
        return refused("LogLimit", message("log_limit", limit=limit))
    return not_theirs(sender, entry, document)


def _chunk_document(entry: LogChunk, expires_at: datetime) -> Document:
    return {
        "_id": f"{attempt_id(entry.task, entry.attempt)}/{entry.sequence:08d}",
        "task": entry.task,
        "attempt": entry.attempt,
        "sequence": entry.sequence,
        "offset": entry.offset_bytes,
        "at": entry.at,
        "system": entry.system,
        "data": entry.data,
        "expires_at": expires_at,
    }


def log_fields(chunks: Sequence[LogChunk]) -> Document:
    """What a batch's chunks say of the whole log: how long it is, and its last lines."""
    if not chunks:
        return {}
    by_sequence = {chunk.sequence: chunk for chunk in chunks}
    last = by_sequence[max(by_sequence)]
    text = b"".join(by_sequence[n].data for n in sorted(by_sequence) if not by_sequence[n].system)
    known = {"$ifNull": ["$log.tail", []]}
    fresh: dict[str, Any] = {
        "next_sequence": last.sequence + 1,
        "bytes": last.offset_bytes + len(last.data),
        "tail": {"$slice": [{"$concatArrays": [known, [text[-TAIL_LIMIT_BYTES:]]]}, -TAIL_PARTS]} if text else known,
    }
    newer = {"$gt": [last.sequence + 1, {"$ifNull": ["$log.next_sequence", 0]}]}
    return {"log": {"$cond": [newer, {"$mergeObjects": [{"$ifNull": ["$log", {}]}, fresh]}, "$log"]}}
