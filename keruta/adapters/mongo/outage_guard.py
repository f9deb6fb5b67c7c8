"""Detection of outages of keruta itself, which must cost no task its lease.

One document, `control/pulse`, has for ticks and for reports when the last one was (`at`) and since when they have
been continuous (`since`). A gap longer than half a lease begins anew: `since` is now, and a generation is owed to which
every lease is to be extended. Leases expire only when both have been continuous for a whole lease.
"""

from __future__ import annotations

import time
from typing import Any

from pymongo import ReturnDocument
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.running import WITH_LEASE
from keruta.adapters.mongo.tasks import after
from keruta.ports import Document


class Pulse:
    """Beats of ticks and of accepted reports.

    Args:
        lease_seconds: a gap is half of it; continuity is the whole of it.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._control = database["control"]
        self._beats = database["control"].with_options(write_concern=WriteConcern(w=1))
        self._tasks = database["tasks"]
        self._lease_seconds = lease_seconds
        self._said_at = 0.0

    def reported(self) -> None:
        """A report was accepted: written down once in a tenth of a lease, which is often enough to show a gap."""
        now = time.monotonic()
        if now - self._said_at >= self._lease_seconds / 10:
            self._beat("reports")
            self._said_at = now

    def ticked(self) -> bool:
        """A tick. Returns whether leases may expire; extends them all when there was a gap."""
        pulse = self._beat("ticks")
        gaps = pulse["ticks"]["gaps"] + (pulse.get("reports") or {}).get("gaps", 0)
        if pulse.get("extended", 0) != gaps:
            self._extend(gaps)
            return False
        continuous = {
            "$and": [
                {"$lte": [f"${kind}.since", {"$subtract": ["$$NOW", self._milliseconds(1.0)]}]}
                for kind in ("ticks", "reports")
            ]
            + [{"$gte": ["$reports.at", {"$subtract": ["$$NOW", self._milliseconds(0.5)]}]}]
        }
        return self._control.count_documents({"_id": "pulse", "$expr": continuous}, limit=1) == 1

    def _beat(self, kind: str) -> Document:
        gap = {"$lt": [{"$ifNull": [f"${kind}.at", None]}, {"$subtract": ["$$NOW", self._milliseconds(0.5)]}]}
        beat: dict[str, Any] = {
            "at": "$$NOW",
            "since": {"$cond": [gap, "$$NOW", f"${kind}.since"]},
            "gaps": {"$add": [{"$ifNull": [f"${kind}.gaps", 0]}, {"$cond": [gap, 1, 0]}]},
        }
        pulse = self._beats.find_one_and_update(
            {"_id": "pulse"}, [{"$set": {kind: beat}}], upsert=True, return_document=ReturnDocument.AFTER
        )
        assert pulse is not None
        return pulse

    def _extend(self, gaps: int) -> None:
        lease = after(self._lease_seconds)
        self._tasks.update_many(
            WITH_LEASE,
            [{"$set": {"lease_until": {"$max": ["$lease_until", lease]}}}],
        )
        self._control.update_one({"_id": "pulse"}, {"$max": {"extended": gaps}})

    def _milliseconds(self, leases: float) -> int:
        return int(self._lease_seconds * 1000 * leases)
