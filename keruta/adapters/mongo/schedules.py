"""Schedules of triggers: beside its spec, a trigger keeps the time that comes next.

`next_at` is that time as the expression says it, `due_at` the moment at which it starts the task; both are null where
nothing is to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from keruta import structs
from keruta.adapters.mongo.catalog import Extras
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.delivery_bodies import DeliveryBodies
from keruta.adapters.mongo.trigger_rights import TriggerRights
from keruta.domain.catalog.triggers import Stopped, TriggerSpec
from keruta.domain.messages import Message, fields_of
from keruta.domain.principal import Principal
from keruta.domain.schedules import next_after, offset, upcoming
from keruta.ports import Document
from keruta.ports.deliveries import Scheduled

AT_ONCE = 200  # triggers of one tick


class Triggers(Extras):
    """Triggers: with the time that comes next. A change of the schedule, or the end of a pause, counts from now on."""

    def __init__(self, database: Database, editors: Callable[[str], Principal | None]) -> None:
        self._rights = TriggerRights(database, editors)
        self._deliveries = database["deliveries"]
        self._heads = database["forge_heads"]
        self._bodies = DeliveryBodies(database)

    def deleted(self, name: str) -> None:
        """Delete the trigger's deliveries: a later trigger of its name may be for other people."""
        self._deliveries.delete_many({"trigger": name})
        self._heads.delete_many({"trigger": name})
        self._bodies.forget(name)

    def stored(self, spec: TriggerSpec, before: Document | None) -> Document:
        same = ("schedule", "time_zone", "jitter_seconds", "paused")
        if before is not None and all(before["spec"].get(name) == getattr(spec, name) for name in same):
            return {}
        return _next(spec, datetime.now(UTC))

    def adopts(self, row: Document) -> bool:
        return self._stopped(row) is not None

    def _stopped(self, row: Document) -> Message | None:
        return self._rights.of(structs.from_plain(row["spec"], TriggerSpec), row["updated_by_subject"]).stopped

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        shown = super().views(rows, kind, who)
        stopped = [self._stopped(row) for row in rows]
        return [
            msgspec.structs.replace(view, stopped=Stopped(**fields_of(why))) if why is not None else view
            for view, why in zip(shown, stopped, strict=True)
        ]

    def shown(self, row: Document) -> Document:
        spec = structs.from_plain(row["spec"], TriggerSpec)
        if spec.schedule is None or spec.paused:
            return {}
        late = offset(spec.name, spec.jitter_seconds)
        return {"next_times": upcoming(spec.schedule, spec.time_zone, late, datetime.now(UTC))}


class MongoSchedules:
    """`keruta.ports.deliveries.ScheduleStore` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._triggers = database["triggers"]

    def come(self, now: datetime) -> list[Scheduled]:
        with translated():
            found = self._triggers.find({"due_at": {"$lte": now}}, ["spec", "next_at"]).sort("due_at", 1)
            return [
                Scheduled(spec=structs.from_plain(row["spec"], TriggerSpec), at=row["next_at"])
                for row in found.limit(AT_ONCE)
            ]

    def advance(self, due: Scheduled, now: datetime) -> None:
        with translated():
            # A schedule that was changed meanwhile has a next time of its own.
            same: dict[str, Any] = {
                "_id": due.spec.name, "next_at": due.at, "spec.schedule": due.spec.schedule,
                "spec.time_zone": due.spec.time_zone, "spec.jitter_seconds": due.spec.jitter_seconds,
                "spec.paused": due.spec.paused,
            }  # fmt: skip
            self._triggers.update_one(same, {"$set": _next(due.spec, now)})


def _next(spec: TriggerSpec, now: datetime) -> Document:
    late = offset(spec.name, spec.jitter_seconds)
    at = None
    if spec.schedule is not None and not spec.paused:
        at = next_after(spec.schedule, spec.time_zone, now - late)
    return {"next_at": at, "due_at": None if at is None else at + late}
