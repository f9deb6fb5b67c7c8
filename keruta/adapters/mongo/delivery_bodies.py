"""Bodies of deliveries, whole and compressed: within the delivery's document, or in parts where they are large.

A part expires by itself, as the delivery does; GridFS has no such end for its chunks.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from keruta.adapters.mongo.client import Database

BODY = ("body", "body_parts", "body_of")  # the fields of a delivery that hold its body, or say where it is
PART_BYTES = 4 * 1024 * 1024  # a document holds 16 MiB, and what is known of the event is in it too


class DeliveryBodies:
    """Bodies of the deliveries of one database."""

    def __init__(self, database: Database) -> None:
        self._parts = database["delivery_parts"]

    def keep(self, trigger: str, delivery: str, body: bytes, now: datetime) -> dict[str, Any]:
        """Return the fields of a delivery for its body. Its parts are stored before the delivery is."""
        packed = zlib.compress(body, 6)
        if len(packed) <= PART_BYTES:
            return {"body": packed}
        starts = range(0, len(packed), PART_BYTES)
        for number, start in enumerate(starts):
            self._parts.insert_one({
                "_id": f"{delivery}/{number}", "trigger": trigger, "data": packed[start : start + PART_BYTES],
                "received_at": now,
            })  # fmt: skip
        return {"body_parts": len(starts), "body_of": delivery}

    def body(self, row: Mapping[str, Any]) -> bytes:
        """Return the body of a delivery as it came."""
        if "body" in row:
            return zlib.decompress(row["body"])
        names = [f"{row['body_of']}/{number}" for number in range(row["body_parts"])]
        found = {part["_id"]: part["data"] for part in self._parts.find({"_id": {"$in": names}})}
        return zlib.decompress(b"".join(found[name] for name in names))

    def forget(self, trigger: str) -> None:
        """Remove the parts of a trigger's deliveries."""
        self._parts.delete_many({"trigger": trigger})
