"""Deliveries as people see them, with what they may do: run a trigger, replay and approve a delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument

from keruta import structs
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.deliveries import MongoDeliveries
from keruta.adapters.mongo.delivery_bodies import BODY, DeliveryBodies
from keruta.adapters.mongo.paging import newest_first
from keruta.domain.catalog import access
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Page
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import DeliveryView, event_of_run
from keruta.domain.messages import kind_word, message
from keruta.domain.naming import NAME, TASK_ID, new_id
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, NotFound

HELD_READ = 100


class MongoSeenDeliveries:
    """`keruta.ports.deliveries.Deliveries` on MongoDB.

    Args:
        store: takes what a person starts.
    """

    def __init__(self, database: Database, store: MongoDeliveries) -> None:
        self._store = store
        self._deliveries = database["deliveries"]
        self._triggers = database["triggers"]
        self._repositories = database["repositories"]
        self._bodies = DeliveryBodies(database)
        self._audit = MongoAudit(database)

    def page(self, who: Principal, trigger: str, *, limit: int, cursor: str | None) -> Page[DeliveryView]:
        self._readable(who, trigger)
        rows, after = newest_first(
            self._deliveries, {"trigger": trigger}, limit=limit, cursor=cursor, hint="trigger", without=("body",)
        )
        return Page(items=[shown(row) for row in rows], next=after)

    def body(self, who: Principal, trigger: str, delivery: str) -> bytes:
        self._readable(who, trigger)
        with translated():
            row = self._deliveries.find_one({"_id": delivery, "trigger": trigger}, list(BODY))
            if row is None:
                raise NotFound(message("delivery_missing"), reason="DeliveryNotFound")
            return self._bodies.body(row)

    def runnable(self, who: Principal, trigger: str) -> TriggerSpec:
        self._check_may_run(who, trigger)
        return structs.from_plain(self._readable(who, trigger)["spec"], TriggerSpec)

    def run(self, who: Principal, trigger: str) -> DeliveryView:
        self._check_may_run(who, trigger)
        wish = new_id()
        identity, _ = self._store.add(trigger, f"run-{wish}", event_of_run(wish, who.name, datetime.now(UTC)), b"")
        with translated():
            row = self._deliveries.find_one({"_id": identity}, {"body": 0})
            self._audit.record(who.name, "run", "trigger", trigger, readers=self._readers(trigger))
        assert row is not None
        return shown(row)

    def replay(self, who: Principal, trigger: str, delivery: str) -> DeliveryView:
        row = self._runnable(who, trigger, delivery)
        with translated():
            first = self._deliveries.find_one_and_update(
                {"trigger": trigger, "delivery": row["delivery"], "replay": 0}, {"$inc": {"replays": 1}},
                return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if first is None:
                raise NotFound(message("delivery_missing"), reason="DeliveryNotFound")
            now = datetime.now(UTC)
            kept = {name: first[name] for name in ("trigger", "delivery", "event", "digest", *BODY) if name in first}
            again = {
                "_id": new_id(), **kept, "replay": first["replays"], "state": "received", "tries": 0,
                "received_at": now, "due_at": now,
            }  # fmt: skip
            self._deliveries.insert_one(again)
            self._audit.record(who.name, "replay", "trigger", trigger, readers=self._readers(trigger))
        return shown(again)

    def held(self, who: Principal, *, limit: int) -> list[tuple[str, DeliveryView]]:
        """Return those to approve among the newest `HELD_READ` that are held, by the index of held ones."""
        query = self._deliveries.find({"state": "held", "_id": {"$gt": ""}}, {"body": 0})
        with translated():
            rows = list(query.sort("_id", -1).hint("held").limit(HELD_READ))
        allowed: dict[str, bool] = {}
        for trigger in {row["trigger"] for row in rows}:
            try:
                self._check_may_run(who, trigger)
            except (NotFound, Forbidden):
                allowed[trigger] = False
            else:
                allowed[trigger] = True
        return [(row["trigger"], shown(row)) for row in rows if allowed[row["trigger"]]][:limit]

    def approve(self, who: Principal, trigger: str, delivery: str) -> DeliveryView:
        self._runnable(who, trigger, delivery)
        with translated():
            row = self._deliveries.find_one_and_update(
                {"_id": delivery, "trigger": trigger, "state": "held"},
                {"$set": {"state": "received", "due_at": datetime.now(UTC), "approved_by": who.name, "tries": 0}},
                projection={"body": 0}, return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if row is None:
                raise Conflict(message("delivery_not_held"), reason="NotHeld")
            self._audit.record(who.name, "accept", "trigger", trigger, readers=self._readers(trigger))
        return shown(row)

    def _readable(self, who: Principal, trigger: str) -> Mapping[str, Any]:
        row = None
        if NAME.fullmatch(trigger):
            with translated():
                row = self._triggers.find_one({"_id": trigger, "readers": {"$in": who.readers}}, ["spec", "readers"])
                # What an event says is the repository's own: branches, people, titles.
                if row is not None and not self._repository(row, who.readers):
                    row = None
        if row is None:
            said = message("catalog_missing", kind=kind_word("trigger"), name=trigger[:80])
            raise NotFound(said, reason="TriggerNotFound")
        return row

    def _repository(self, trigger: Mapping[str, Any], readers: Sequence[str]) -> Mapping[str, Any] | None:
        seen = {"_id": trigger["spec"]["repository"], "readers": {"$in": list(readers)}}
        return self._repositories.find_one(seen, ["spec.access"])

    def _readers(self, trigger: str) -> list[str]:
        row = self._triggers.find_one({"_id": trigger}, ["readers"])
        return list(row["readers"]) if row is not None else ["role:admin"]

    def _runnable(self, who: Principal, trigger: str, delivery: str) -> Mapping[str, Any]:
        """A delivery of a trigger that someone may run. Raises NotFound, Forbidden."""
        self._check_may_run(who, trigger)
        row = None
        if TASK_ID.fullmatch(delivery):
            with translated():
                row = self._deliveries.find_one({"_id": delivery, "trigger": trigger}, {"body": 0})
        if row is None:
            raise NotFound(message("delivery_missing"), reason="DeliveryNotFound")
        return row

    def _check_may_run(self, who: Principal, trigger: str) -> None:
        row = self._readable(who, trigger)
        with translated():
            repository = self._repository(row, who.readers) or {}
        for kind, entry in (("trigger", row), ("repository", repository)):
            granted = structs.from_plain(entry.get("spec", {}).get("access"), Access | None)
            if not access.may_run(granted, who.names):
                name = trigger if kind == "trigger" else row["spec"]["repository"]
                raise Forbidden(
                    message("submission_not_permitted", kind=kind_word(kind), name=name), reason="GrantMissing"
                )


def shown(row: Mapping[str, Any]) -> DeliveryView:
    """A delivery as the API shows it."""
    event = row["event"]
    fields = {name: value for name, value in row.items() if name in DeliveryView.__struct_fields__}
    of = {name: event.get(name) for name in ("ref", "commit", "number", "sender")}
    return structs.from_plain({**fields, **of, "id": row["_id"], "event": event["name"]}, DeliveryView)
