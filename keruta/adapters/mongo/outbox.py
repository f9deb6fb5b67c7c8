"""Sends what changes have recorded, after the answer has gone out, and clears it in bulk, lazily.

A process that dies before it has cleared sends twice, or leaves it to the tick: at least once, always. A repeat has the
same id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pymongo import UpdateOne
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from keruta.adapters.background import Background
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import events_of
from keruta.domain.events import Event

log = logging.getLogger(__name__)

CLEAR_EVERY_SECONDS = 2.0  # less than LEFT_AFTER_SECONDS, and long enough for most of a short task's events
CLEAR_AT_ONCE = 200
WAITING_LIMIT = 10_000
LEFT_AFTER_SECONDS = 5
LEFT_AT_ONCE = 1000

Send = Callable[[Event], bool]


class MongoOutbox:
    """One sender per process.

    Args:
        send: gives an event to the broker; returns whether the broker took it, and never raises.
    """

    def __init__(self, database: Database, send: Send) -> None:
        self._tasks = database["tasks"].with_options(write_concern=WriteConcern(w=1))
        self._send = send
        self._sent: list[tuple[str, str]] = []
        self._cleared_at = time.monotonic()
        self._work: Background[tuple[str, Event]] = Background(
            "outbox",
            self._send_one,
            limit=WAITING_LIMIT,
            look=self._clear_if_due,
            look_seconds=lambda: CLEAR_EVERY_SECONDS if self._sent else None,
        )

    def send(self, task_id: str, events: Sequence[Event]) -> None:
        for event in events:
            if not self._work.put((task_id, event)):  # it is on record; the tick sends it
                return

    def send_left(self) -> int:
        """Sends what other processes left behind for more than 5 s; returns how many events went out."""
        ago = {"$lte": ["$outbox_at", {"$subtract": ["$$NOW", LEFT_AFTER_SECONDS * 1000]}]}
        with translated():
            left = list(
                self._tasks.find({"outbox_at": {"$exists": True}, "$expr": ago}, {"outbox": 1})
                .sort("outbox_at", 1)
                .hint("outbox_at")
                .limit(LEFT_AT_ONCE)
            )
            sent = [(row["_id"], event.id) for row in left for event in events_of(row) if self._send(event)]
            self._clear(sent)
        return len(sent)

    def _send_one(self, one: tuple[str, Event]) -> None:
        task_id, event = one
        if self._send(event):
            self._sent.append((task_id, event.id))

    def _clear_if_due(self) -> None:
        late = time.monotonic() - self._cleared_at >= CLEAR_EVERY_SECONDS
        if not self._sent or (len(self._sent) < CLEAR_AT_ONCE and not late):
            return
        sent, self._sent = self._sent, []
        self._cleared_at = time.monotonic()
        try:
            self._clear(sent)
        except PyMongoError as error:
            log.warning("outbox not cleared: %s", str(error)[:200], extra={"action": "outbox_clear_failed"})

    def _clear(self, sent: Sequence[tuple[str, str]]) -> None:
        by_task: dict[str, list[str]] = {}
        for task_id, event_id in sent:
            by_task.setdefault(task_id, []).append(event_id)
        updates = [UpdateOne({"_id": task_id}, _without(ids)) for task_id, ids in by_task.items()]
        if updates:
            self._tasks.bulk_write(updates, ordered=False)


def _without(event_ids: Sequence[str]) -> list[dict[str, object]]:
    left = {
        "$filter": {"input": {"$ifNull": ["$outbox", []]}, "cond": {"$not": {"$in": ["$$this.id", list(event_ids)]}}}
    }
    at = {"$cond": [{"$eq": ["$outbox", []]}, "$$REMOVE", "$outbox_at"]}
    return [{"$set": {"outbox": left}}, {"$set": {"outbox_at": at}}]
