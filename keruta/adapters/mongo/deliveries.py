"""Deliveries of forges: stored whole by one insert, taken while they are due, and what came of each.

A delivery is `{_id, trigger, delivery, event, replay, body, digest, state, due_at, tries, received_at, …}`. `due_at` is
there while it is to be processed. An event's key (`trigger_events`) holds the id of the one task that it makes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from keruta import structs
from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.paging import newest_first
from keruta.domain.catalog import access
from keruta.domain.catalog.common import Page
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import (
    BODY_LIMIT_BYTES,
    EVENT_DAYS,
    STORED_LIMIT_BYTES,
    DeliveryView,
    Due,
    State,
    event_of_run,
)
from keruta.domain.forges import ForgeEvent
from keruta.domain.lifecycle import ENDED
from keruta.domain.messages import Message, fields_of, kind_word, message
from keruta.domain.naming import NAME, TASK_ID, made_at, new_id
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, NotFound, SettingsError, TooLarge, Unavailable
from keruta.ports.deliveries import KnownTrigger

TAKEN_SECONDS = 60  # a process that has not finished after so long is gone
UNMADE = timedelta(hours=1)  # for so long a group's task may still be about to be made


class MongoDeliveries:
    """`keruta.ports.deliveries.DeliveryStore` and `Deliveries` on MongoDB.

    Args:
        editors: finds a person by their subject, as they were last seen; None for one who is shut out.
    """

    def __init__(self, database: Database, sealer: Sealer, editors: Callable[[str], Principal | None]) -> None:
        self._deliveries = database["deliveries"]
        self._triggers = database["triggers"]
        self._credentials = database["credentials"]
        self._repositories = database["repositories"]
        self._events = database["trigger_events"]
        self._groups = database["trigger_groups"]
        self._tasks = database["tasks"]
        self._audit = MongoAudit(database)
        self._sealer = sealer
        self._editors = editors

    # ------------------------------------------------------------ taking in

    def trigger(self, name: str) -> KnownTrigger | None:
        if not NAME.fullmatch(name):
            return None
        with translated():
            row = self._triggers.find_one({"_id": name}, ["spec"])
            if row is None:
                return None
            spec = structs.from_plain(row["spec"], TriggerSpec)
            if spec.webhook_secret is None:
                return None
            held = self._credentials.find_one({"_id": spec.webhook_secret}, ["sealed"])
        if held is None or not held.get("sealed"):
            return None
        try:
            value = self._sealer.open(spec.webhook_secret, held["sealed"])["value"]
        except (CannotOpenError, SettingsError) as error:
            raise Unavailable(message("delivery_no_key")) from error
        # Two lines while a secret is changed: the new one and the old one.
        return KnownTrigger(spec=spec, secrets=[line.strip() for line in value.splitlines() if line.strip()])

    def add(self, trigger: str, delivery: str, event: ForgeEvent, body: bytes) -> tuple[str, bool]:
        packed = zlib.compress(body, 6)
        if len(packed) > STORED_LIMIT_BYTES:
            raise TooLarge(message("http_body_too_large", limit=BODY_LIMIT_BYTES))
        digest, now, identity = hashlib.sha256(body).digest(), datetime.now(UTC), new_id()
        row = {
            "_id": identity, "trigger": trigger, "delivery": delivery, "replay": 0, "event": stored_event(event),
            "body": packed, "digest": digest, "state": "received", "tries": 0, "received_at": now, "due_at": now,
        }  # fmt: skip
        with translated():
            try:
                self._deliveries.insert_one(row)
            except DuplicateKeyError:
                known = self._deliveries.find_one(
                    {"trigger": trigger, "delivery": delivery, "replay": 0}, ["digest"], hint="once"
                )
                if known is not None and known["digest"] != digest:
                    raise Conflict(message("forge_reused"), reason="DeliveryReused") from None
                return (str(known["_id"]) if known is not None else identity), False
        return identity, True

    # ------------------------------------------------------------ processing

    def take(self, identity: str | None = None) -> Due | None:
        now = datetime.now(UTC)
        match: dict[str, Any] = {"state": "received", "due_at": {"$lte": now}}
        if identity is not None:
            match["_id"] = identity
        with translated():
            row = self._deliveries.find_one_and_update(
                match,
                {"$set": {"due_at": now + timedelta(seconds=TAKEN_SECONDS)}, "$inc": {"tries": 1}},
                projection={"body": 0}, sort=[("due_at", 1), ("_id", 1)], return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if row is None:
                return None
            trigger = self._triggers.find_one({"_id": row["trigger"]}, ["spec"])
        return Due(
            id=row["_id"], event=structs.from_plain(row["event"], ForgeEvent), replay=row["replay"],
            approved=row.get("approved_by") is not None, tries=row["tries"],
            spec=structs.from_plain(trigger["spec"], TriggerSpec) if trigger is not None else None,
        )  # fmt: skip

    def finish(self, due: Due, state: State, said: Message, task: str | None = None) -> None:
        fields = {"state": state, "task": task, **fields_of(said)}
        with translated():
            self._deliveries.update_one(
                {"_id": due.id, "state": "received"}, {"$set": fields, "$unset": {"due_at": ""}}
            )

    def again(self, due: Due, seconds: float) -> None:
        after = datetime.now(UTC) + timedelta(seconds=seconds)
        with translated():
            self._deliveries.update_one({"_id": due.id, "state": "received"}, {"$set": {"due_at": after}})

    def claim(self, due: Due, task: str) -> tuple[str, bool]:
        assert due.spec is not None
        key = hashlib.sha256(f"{due.spec.name}\n{due.event.identity}\n{due.replay}".encode()).hexdigest()
        fields = {"task": task, "delivery": due.id, "until": datetime.now(UTC) + timedelta(days=EVENT_DAYS)}
        with translated():
            held = self._events.find_one_and_update(
                {"_id": key}, {"$setOnInsert": fields}, upsert=True, return_document=ReturnDocument.AFTER
            )
        assert held is not None
        return held["task"], held["delivery"] == due.id

    def in_group(self, group: str) -> str | None:
        with translated():
            row = self._groups.find_one({"_id": group})
        return None if row is None else str(row["task"])

    def enter_group(self, group: str, before: str | None, task: str) -> bool:
        fields = {"task": task, "until": datetime.now(UTC) + timedelta(days=EVENT_DAYS)}
        with translated():
            if before is not None:
                changed = self._groups.update_one(
                    {"_id": group, "task": before}, {"$set": fields, "$addToSet": {"earlier": before}}
                )
                return changed.modified_count == 1
            try:
                self._groups.insert_one({"_id": group, **fields})
            except DuplicateKeyError:
                return False
        return True

    def replaced(self, group: str) -> list[str]:
        with translated():
            row = self._groups.find_one({"_id": group})
        return list(row.get("earlier", ())) if row is not None else []

    def not_replaced(self, group: str, task: str) -> None:
        with translated():
            self._groups.update_one({"_id": group}, {"$pull": {"earlier": task}})

    def open_task(self, task: str) -> bool:
        with translated():
            row = self._tasks.find_one({"_id": task}, ["status"])
        if row is None:
            return datetime.now(UTC) - made_at(task) < UNMADE
        return row["status"] not in ENDED

    def editor(self, trigger: str) -> Principal | None:
        with translated():
            row = self._triggers.find_one({"_id": trigger}, ["updated_by_subject"])
        return self._editors(row["updated_by_subject"]) if row is not None else None

    def repository_url(self, name: str) -> str | None:
        with translated():
            row = self._repositories.find_one({"_id": name}, ["spec.url"])
        return None if row is None else str(row["spec"]["url"])

    # ------------------------------------------------------------ what people see and do

    def page(self, who: Principal, trigger: str, *, limit: int, cursor: str | None) -> Page[DeliveryView]:
        self._readable(who, trigger)
        rows, after = newest_first(
            self._deliveries, {"trigger": trigger}, limit=limit, cursor=cursor, hint="trigger", without=("body",)
        )
        return Page(items=[shown(row) for row in rows], next=after)

    def run(self, who: Principal, trigger: str) -> DeliveryView:
        self._check_may_run(who, trigger)
        wish = new_id()
        identity, _ = self.add(trigger, f"run-{wish}", event_of_run(wish, who.name, datetime.now(UTC)), b"")
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
            kept = {name: first[name] for name in ("trigger", "delivery", "event", "body", "digest")}
            again = {
                "_id": new_id(), **kept, "replay": first["replays"], "state": "received", "tries": 0,
                "received_at": now, "due_at": now,
            }  # fmt: skip
            self._deliveries.insert_one(again)
            self._audit.record(who.name, "replay", "trigger", trigger, readers=self._readers(trigger))
        return shown(again)

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
        if row is None:
            said = message("catalog_missing", kind=kind_word("trigger"), name=trigger[:80])
            raise NotFound(said, reason="TriggerNotFound")
        return row

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
        spec = structs.from_plain(self._readable(who, trigger)["spec"], TriggerSpec)
        if not access.may_run(spec.access, who.names):
            raise Forbidden(
                message("submission_not_permitted", kind=kind_word("trigger"), name=trigger), reason="GrantMissing"
            )


def stored_event(event: ForgeEvent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(datetime,))
    return plain


def shown(row: Mapping[str, Any]) -> DeliveryView:
    """A delivery as the API shows it."""
    event = row["event"]
    fields = {name: value for name, value in row.items() if name in DeliveryView.__struct_fields__}
    of = {name: event.get(name) for name in ("ref", "commit", "number", "sender")}
    return structs.from_plain({**fields, **of, "id": row["_id"], "event": event["name"]}, DeliveryView)
