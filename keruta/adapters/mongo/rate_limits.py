"""Rate limits of callers, counted in MongoDB for all replicas together, a block of requests at a time.

A process takes a block of a caller's minute and spends it by itself, so that most requests cost no write. What it does
not spend is lost to the caller: the limit is kept, and may be reached a little early.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pymongo import ReturnDocument
from pymongo.write_concern import WriteConcern

from keruta.adapters.mongo.client import Database, translated
from keruta.domain.messages import message
from keruta.errors import TooManyRequests

WINDOW_SECONDS = 60
BLOCKS = 60  # of a caller's minute
REMEMBERED = 4096


class MongoRates:
    """`keruta.adapters.identity.verifier.Rates` on MongoDB.

    Args:
        per_minute: requests of one caller; 0 for any number.
        now: the time, in seconds since 1970.
    """

    def __init__(self, database: Database, per_minute: int, now: Callable[[], float] = time.time) -> None:
        self._rates = database["rates"].with_options(write_concern=WriteConcern(w=1))
        self._per_minute = per_minute
        self._block = max(per_minute // BLOCKS, 1)
        self._now = now
        self._left: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        if not self._per_minute:
            return
        now = self._now()
        window = int(now // WINDOW_SECONDS)
        with self._lock:
            of, left = self._left.get(caller, (window, 0))
            if of == window and left > 0:
                self._left[caller] = window, left - 1
                return
        granted = self._grant(caller, window)
        if granted <= 0:
            seconds = int((window + 1) * WINDOW_SECONDS - now) + 1
            said = message("http_too_many_requests", limit=self._per_minute, seconds=seconds)
            raise TooManyRequests(said, retry_after_seconds=seconds)
        with self._lock:
            if len(self._left) >= REMEMBERED:
                self._left.clear()
            self._left[caller] = window, granted - 1

    def _grant(self, caller: str, window: int) -> int:
        """A block of the caller's minute, or what is left of it."""
        until = datetime.fromtimestamp((window + 2) * WINDOW_SECONDS, UTC)
        with translated():
            row = self._rates.find_one_and_update(
                {"_id": f"{caller} {window}"},
                {"$inc": {"used": self._block}, "$setOnInsert": {"until": until}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert row is not None
        return min(self._block, self._per_minute - (int(row["used"]) - self._block))
