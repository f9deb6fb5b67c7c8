"""Deliveries of forges: stored whole by one insert, taken while they are due, and what came of each.

A delivery is `{_id, trigger, delivery, event, replay, body, digest, state, due_at, tries, received_at, …}`. `due_at` is
there while it is to be processed. An event's key (`trigger_events`) holds the id of the one task that it makes.
"""

from __future__ import annotations

import hashlib
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
from keruta.adapters.mongo.delivery_bodies import DeliveryBodies
from keruta.adapters.mongo.forge_memory import ForgeMemory
from keruta.adapters.mongo.forge_recovery import MongoRecovery
from keruta.adapters.mongo.trigger_rights import TriggerRights
from keruta.domain.catalog.forges import ForgeSpec
from keruta.domain.catalog.triggers import Provider, TriggerSpec
from keruta.domain.deliveries import EVENT_DAYS, Due, State
from keruta.domain.forges import ForgeEvent, glob_matches
from keruta.domain.lifecycle import ENDED
from keruta.domain.messages import Message, fields_of, message
from keruta.domain.naming import NAME, made_at, new_id
from keruta.domain.principal import Principal
from keruta.domain.trigger_rights import RunsAs
from keruta.errors import Conflict, SettingsError, Unavailable
from keruta.ports.deliveries import KnownTrigger

TAKEN_SECONDS = 60  # a process that has not finished after so long is gone
NOBODY = ""  # the last task of a group whose last task could not be made
UNMADE = timedelta(hours=1)  # for so long a group's task may still be about to be made


class MongoDeliveries(ForgeMemory):
    """`keruta.ports.deliveries.DeliveryStore` and `Deliveries` on MongoDB.

    Args:
        editors: finds a person by their subject, as they were last seen; None for one who is shut out.
    """

    def __init__(self, database: Database, sealer: Sealer, editors: Callable[[str], Principal | None]) -> None:
        super().__init__(database)
        self._deliveries = database["deliveries"]
        self._triggers = database["triggers"]
        self._repositories = database["repositories"]
        self._events = database["trigger_events"]
        self._bodies = DeliveryBodies(database)
        self._told = MongoRecovery(database)
        self._posts = database["forge_posts"]
        self._audit = MongoAudit(database)
        self._sealer = sealer
        self._rights = TriggerRights(database, editors)

    # ------------------------------------------------------------ taking in

    def trigger(self, name: str) -> KnownTrigger | None:
        if not NAME.fullmatch(name):
            return None
        with translated():
            row = self._triggers.find_one({"_id": name}, ["spec"])
            if row is None:
                return None
            spec = structs.from_plain(row["spec"], TriggerSpec)
            found = self._forges.find_one({"_id": spec.forge}, ["spec"]) if spec.forge is not None else None
            forge = structs.from_plain(found["spec"], ForgeSpec) if found is not None else None
            secret = spec.webhook_secret or (forge.webhook_secret if forge is not None else None)
            provider = spec.provider or (forge.provider if forge is not None else None)
            if secret is None or provider is None:
                return None
            held = self._credentials.find_one({"_id": secret}, ["sealed"])
        if held is None or not held.get("sealed"):
            return None
        try:
            value = self._sealer.open(secret, held["sealed"])["value"]
        except (CannotOpenError, SettingsError) as error:
            raise Unavailable(message("delivery_no_key")) from error
        # Two lines while a secret is changed: the new one and the old one.
        return KnownTrigger(provider=provider, secrets=[line.strip() for line in value.splitlines() if line.strip()])

    def provider(self, spec: TriggerSpec) -> Provider:
        with translated():
            found = self._forges.find_one({"_id": spec.forge}, ["spec"]) if spec.forge is not None else None
        forge = structs.from_plain(found["spec"], ForgeSpec) if found is not None else None
        return spec.provider or (forge.provider if forge is not None else "generic")

    def triggers_of_source(self, source: str) -> list[str]:
        with translated():
            rows = list(self._triggers.find({"spec.sources": {"$gt": ""}}, ["spec.sources"]).hint("sources"))
        return [row["_id"] for row in rows if any(glob_matches(one, source) for one in row["spec"]["sources"])]

    def add(self, trigger: str, delivery: str, event: ForgeEvent, body: bytes) -> tuple[str, bool]:
        digest, now, identity = hashlib.sha256(body).digest(), datetime.now(UTC), new_id()
        row = {
            "_id": identity, "trigger": trigger, "delivery": delivery, "replay": 0, "event": stored_event(event),
            "digest": digest, "state": "received", "tries": 0, "received_at": now, "due_at": now,
        }  # fmt: skip
        with translated():
            row |= self._bodies.keep(trigger, identity, body, now)
            compared = self._told.is_compared(trigger, event)
            if compared and self._told.is_late(trigger, delivery, event):
                row["late"] = True
            try:
                self._deliveries.insert_one(row)
            except DuplicateKeyError:
                known = self._deliveries.find_one(
                    {"trigger": trigger, "delivery": delivery, "replay": 0}, ["digest"], hint="once"
                )
                if compared and delivery.startswith("recovered-"):  # else it would be found for ever
                    self._told.told(trigger, delivery, event)
                if known is not None and known["digest"] != digest:
                    raise Conflict(message("forge_reused"), reason="DeliveryReused") from None
                return (str(known["_id"]) if known is not None else identity), False
            if compared:
                self._told.told(trigger, delivery, event)
        return identity, True

    # ------------------------------------------------------------ processing

    def take(self, identity: str | None = None, *, asks: bool = False) -> Due | None:
        now = datetime.now(UTC)
        match: dict[str, Any] = {"state": "received", "due_at": {"$lte": now}, "asks": {"$exists": asks}}
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
            trigger = self._triggers.find_one({"_id": row["trigger"]}, ["spec", "updated_by_subject"])
        return _due(row, trigger)

    def finish(
        self, due: Due, state: State, said: Message, task: str | None = None, *, owes_status: bool = False
    ) -> None:
        fields: dict[str, Any] = {"state": state, "task": task, **fields_of(said)}
        if owes_status:
            fields |= {"skip_due": datetime.now(UTC), "tries": 0}
        with translated():
            self._deliveries.update_one(
                {"_id": due.id, "state": "received"}, {"$set": fields, "$unset": {"due_at": "", "asks": ""}}
            )

    def take_skipped(self) -> Due | None:
        now = datetime.now(UTC)
        with translated():
            row = self._deliveries.find_one_and_update(
                {"skip_due": {"$lte": now}}, {"$set": {"skip_due": now + timedelta(seconds=TAKEN_SECONDS)},
                                              "$inc": {"tries": 1}},
                projection={"body": 0}, sort=[("skip_due", 1)], hint="skip_due", return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if row is None:
                return None
            trigger = self._triggers.find_one({"_id": row["trigger"]}, ["spec", "updated_by_subject"])
        return _due(row, trigger)

    def has_status(self, due: Due) -> bool:
        assert due.spec is not None
        with translated():
            about = f"{due.spec.forge} {self.at_forge(due.spec)} {due.spec.name}"
            return self._posts.find_one({"key": f"status {about} {due.event.commit}"}, ["_id"]) is not None

    def skip_told(self, due: Due, again_seconds: float | None) -> None:
        change: dict[str, Any] = {"$unset": {"skip_due": ""}}
        if again_seconds is not None:
            change = {"$set": {"skip_due": datetime.now(UTC) + timedelta(seconds=again_seconds)}}
        with translated():
            self._deliveries.update_one({"_id": due.id}, change)

    def again(self, due: Due, seconds: float) -> None:
        after = datetime.now(UTC) + timedelta(seconds=seconds)
        with translated():
            self._deliveries.update_one({"_id": due.id, "state": "received"}, {"$set": {"due_at": after}})

    def put_aside(self, due: Due) -> None:
        fields = {"asks": True, "due_at": datetime.now(UTC), "tries": 0}
        with translated():
            self._deliveries.update_one({"_id": due.id, "state": "received"}, {"$set": fields})

    def claim(self, due: Due, task: str) -> tuple[str | None, bool]:
        assert due.spec is not None
        key = hashlib.sha256(f"{due.spec.name}\n{due.event.identity}\n{due.replay}".encode()).hexdigest()
        fields = {"task": task, "delivery": due.id, "until": datetime.now(UTC) + timedelta(days=EVENT_DAYS)}
        with translated():
            held = self._events.find_one_and_update(
                {"_id": key}, {"$setOnInsert": fields}, upsert=True, return_document=ReturnDocument.AFTER
            )
            assert held is not None
            if held["delivery"] == due.id:
                return held["task"], True
            first = self._deliveries.find_one({"_id": held["delivery"]}, ["state"])
        made_none = first is not None and first["state"] in ("skipped", "failed")
        return None if made_none else held["task"], False

    def in_group(self, group: str) -> str | None:
        with translated():
            row = self._groups.find_one({"_id": group})
        return None if row is None else str(row["task"])

    def enter_group(self, group: str, before: str | None, task: str) -> bool:
        fields = {"task": task, "until": datetime.now(UTC) + timedelta(days=EVENT_DAYS)}
        earlier = {"$addToSet": {"earlier": before}} if before else {}
        with translated():
            if before is not None:
                changed = self._groups.update_one({"_id": group, "task": before}, {"$set": fields, **earlier})
                return changed.modified_count == 1
            try:
                self._groups.insert_one({"_id": group, **fields})
            except DuplicateKeyError:
                return False
        return True

    def leave_group(self, group: str, task: str) -> None:
        with translated():
            self._groups.update_one({"_id": group, "task": task}, {"$set": {"task": NOBODY}})

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

    def runs_as(self, spec: TriggerSpec, editor: str | None) -> RunsAs:
        if editor is None:
            with translated():
                row = self._triggers.find_one({"_id": spec.name}, ["updated_by_subject"])
            editor = str(row["updated_by_subject"]) if row is not None else ""
        return self._rights.of(spec, editor)

    def repository_url(self, name: str) -> str | None:
        with translated():
            row = self._repositories.find_one({"_id": name}, ["spec.url"])
        return None if row is None else str(row["spec"]["url"])

    def at_forge(self, spec: TriggerSpec, url: str | None = None) -> str | None:
        if spec.forge is None:
            return None
        with translated():
            row = self._forges.find_one({"_id": spec.forge}, ["spec"])
        forge = structs.from_plain(row["spec"], ForgeSpec) if row is not None else None
        if forge is None or forge.credential is None:
            return None
        return forge.repository_of(url or self.repository_url(spec.repository) or "")


def _due(row: Mapping[str, Any], trigger: Mapping[str, Any] | None) -> Due:
    return Due(
        id=row["_id"], event=structs.from_plain(row["event"], ForgeEvent), replay=row["replay"],
        approved=row.get("approved_by") is not None, tries=row["tries"], asks="asks" in row,
        late=bool(row.get("late")),
        spec=structs.from_plain(trigger["spec"], TriggerSpec) if trigger is not None else None,
        editor=trigger["updated_by_subject"] if trigger is not None else None,
    )  # fmt: skip


def stored_event(event: ForgeEvent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(datetime,))
    return plain
