"""Stored sessions of coding agents: sealed by the agents, in parts, each gone after its time."""

from __future__ import annotations

from collections.abc import Iterator

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import after, literal
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.errors import InvalidRequest, TooLarge
from keruta.ports import Readable

PART_BYTES = 4 * 1024 * 1024
SNAPSHOT_LIMIT_BYTES = 80 * 1024 * 1024


class MongoSnapshots:
    """`keruta.ports.SnapshotStore` on MongoDB.

    A document with an attempt's id names the upload that counts; the parts of an upload are documents of their own.
    What broke off is never named, and goes with its time.

    Args:
        keep_seconds: how long a snapshot is kept.
    """

    def __init__(self, database: Database, keep_seconds: float) -> None:
        self._snapshots = database["snapshots"]
        self._keep_seconds = keep_seconds

    def store(self, attempt: str, content: Readable, length: int) -> None:
        if length > SNAPSHOT_LIMIT_BYTES:
            raise TooLarge(message("file_too_large", limit=SNAPSHOT_LIMIT_BYTES))
        upload, left, count = new_id(), length, 0
        with translated():
            while left and (block := _read(content, min(left, PART_BYTES))):
                self._write(f"{upload}-{count}", {"upload": upload, "number": count, "data": block})
                left, count = left - len(block), count + 1
            if left:
                raise InvalidRequest(message("file_cut_short"))
            before = self._snapshots.find_one({"_id": attempt}, ["of"])
            self._write(attempt, {"of": upload, "count": count})
            if before is not None:
                self._snapshots.delete_many({"upload": before["of"], "number": {"$gte": 0}})

    def read(self, attempt: str) -> Iterator[bytes] | None:
        with translated():
            head = self._snapshots.find_one({"_id": attempt})
        return self._parts(head["of"], head["count"]) if head is not None else None

    def _parts(self, upload: str, count: int) -> Iterator[bytes]:
        for number in range(count):
            with translated():
                part = self._snapshots.find_one({"_id": f"{upload}-{number}"}, ["data"])
            if part is None:
                return  # the reader sees that it is cut short
            yield part["data"]

    def _write(self, identity: str, fields: dict[str, object]) -> None:
        said = {name: literal(value) for name, value in fields.items()}
        said["expires_at"] = after(self._keep_seconds)
        self._snapshots.update_one({"_id": identity}, [{"$set": said}], upsert=True)


def _read(content: Readable, size: int) -> bytes:
    """Read so many bytes, or fewer at the end; a network's stream gives what it has at the moment."""
    data = b""
    while len(data) < size and (block := content.read(size - len(data))):
        data += block
    return data
