"""Keeps what the broker could not deliver, and gives it to the broker once more when a person says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.paging import newest_first
from keruta.domain.catalog.common import Page
from keruta.domain.dead_letters import DeadLetter
from keruta.domain.events import Event
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.errors import NotFound, Unavailable


class MongoDeadLetters:
    """Dead letters, kept for 14 days each.

    Args:
        send: gives an event to the broker; returns whether the broker took it.
    """

    def __init__(self, database: Database, send: Callable[[Event], bool]) -> None:
        self._letters = database["dead_letters"]
        self._audit = MongoAudit(database)
        self._send = send

    def keep(self, event: Event, *, destination: str | None, code: str | None) -> None:
        """The event is on record. The same one again, from the same place, is the same letter."""
        said = {"id": event.id, "type": event.type, "subject": event.subject, "data": event.data}
        with translated():
            self._letters.update_one(
                {"event.id": event.id, "destination": destination},
                {
                    "$setOnInsert": {"_id": new_id(), "event": said},
                    "$set": {"code": code, "at": datetime.now(UTC), "replayed_at": None},
                },
                upsert=True,
            )

    def page(self, *, limit: int, cursor: str | None) -> Page[DeadLetter]:
        """Newest first. Raises InvalidRequest for a cursor that is none."""
        rows, after = newest_first(self._letters, {}, limit=limit, cursor=cursor)
        return Page(items=[_view(row) for row in rows], next=after)

    def replay(self, who: str, letter: str) -> DeadLetter:
        """The broker has it again. Raises NotFound, Unavailable: the broker did not take it."""
        with translated():
            row = self._letters.find_one({"_id": letter})
            if row is None:
                raise NotFound(message("event_no_dead_letter"), reason="DeadLetterNotFound")
            said = row["event"]
            if not self._send(Event(id=said["id"], type=said["type"], subject=said["subject"], data=said["data"])):
                raise Unavailable(message("event_broker_refused"))
            done = {"replayed_at": datetime.now(UTC), "replayed_by": who}
            self._letters.update_one({"_id": letter}, {"$set": done})
            self._audit.record(who, "replay", "dead_letter", letter, readers=["everyone"])
        return _view({**row, **done})


def _view(row: Mapping[str, Any]) -> DeadLetter:
    event = row["event"]
    return DeadLetter(
        id=row["_id"], at=row["at"], event=event["id"], type=event["type"], subject=event.get("subject"),
        destination=row.get("destination"), code=row.get("code"),
        replayed_at=row.get("replayed_at"), replayed_by=row.get("replayed_by"),
    )  # fmt: skip
