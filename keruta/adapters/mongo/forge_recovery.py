"""Record of what forges have told triggers: `{_id, trigger, key, commit, missing, missing_since, recovered, until}`.

`commit` is where the last delivery, or the first comparison, saw a branch or pull request; `missing` one that a
comparison saw since; `recovered` the one that was made a delivery of in place of the forge's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReturnDocument

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import EVENT_DAYS
from keruta.domain.forges import ForgeEvent
from keruta.ports.recovery import Compared

EVERY = timedelta(minutes=15)
GRACE = timedelta(minutes=2)  # a delivery may be on its way for so long
NONE = "0" * 40
COMPARED = ("push", "pull_request", "comment", "review_comment")
TELLING = frozenset({"opened", "reopened", "synchronized"})


class MongoRecovery:
    """`keruta.ports.recovery.RecoveryStore` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._triggers = database["triggers"]
        self._heads = database["forge_heads"]

    def due(self, now: datetime) -> Compared | None:
        waits = {"compare_at": {"$lte": now}, "spec.forge": {"$gt": ""}}
        new = {"compare_at": {"$exists": False}, "spec.forge": {"$gt": ""}}
        with translated():
            for match, hint in ((waits, "compare_at"), (new, "forge")):
                row = self._triggers.find_one_and_update(
                    {**match, "spec.events": {"$in": list(COMPARED)}}, {"$set": {"compare_at": now + EVERY}},
                    projection=["spec", "compared_at", "compared_of"], hint=hint, return_document=ReturnDocument.AFTER,
                )  # fmt: skip
                if row is not None:
                    spec = structs.from_plain(row["spec"], TriggerSpec)
                    if row.get("compared_of") == _of(spec):
                        return Compared(spec=spec, since=row["compared_at"])
                    # New, or about another repository, or other events, than what is on record.
                    self._heads.delete_many({"trigger": spec.name})
                    return Compared(spec=spec)
        return None

    def changed(self, due: Compared, key: str, commit: str, now: datetime) -> str | None:
        name = _id(due.spec.name, key)
        with translated():
            row = self._heads.find_one({"_id": name})
            if row is None and due.since is None:  # the first comparison: there is nothing to miss yet
                self._note(due.spec.name, key, commit, now)
                return None
            known = row.get("commit") if row is not None else None
            if known == commit:
                self._heads.update_one({"_id": name}, {"$unset": {"missing": "", "missing_since": ""}})
                return None
            if row is None or row.get("missing") != commit:
                fields = {"missing": commit, "missing_since": now, "until": now + timedelta(days=EVENT_DAYS)}
                about = {"trigger": due.spec.name, "key": key}
                self._heads.update_one({"_id": name}, {"$set": fields, "$setOnInsert": about}, upsert=True)
                return None
            return (known or NONE) if now - row["missing_since"] >= GRACE else None

    def recovering(self, trigger: str, key: str, commit: str | None) -> None:
        with translated():
            self._heads.update_one({"_id": _id(trigger, key)}, {"$set": {"recovered": commit}})

    def gone(self, due: Compared, prefix: str, there: set[str], now: datetime) -> list[str]:
        with translated():
            # One that was told of just now may be newer than the list.
            before = {"trigger": due.spec.name, "at": {"$lt": now - GRACE}}
            rows = self._heads.find(before, ["key"]).hint("trigger")
            keys = [row["key"] for row in rows if row["key"].startswith(prefix) and row["key"] not in there]
            self._heads.delete_many({"_id": {"$in": [_id(due.spec.name, key) for key in keys]}})
        return keys

    def compared(self, due: Compared, now: datetime) -> None:
        with translated():
            missing = {"trigger": due.spec.name, "missing": {"$exists": True}}
            soon = self._heads.find_one(missing, ["_id"], hint="trigger") is not None
            times = {"compared_at": now, "compared_of": _of(due.spec), "compare_at": now + (GRACE if soon else EVERY)}
            self._triggers.update_one({"_id": due.spec.name}, {"$set": times})

    def _note(self, trigger: str, key: str, commit: str, now: datetime, past: Mapping[str, str] | None = None) -> None:
        fields = {
            "trigger": trigger,
            "key": key,
            "commit": commit,
            "at": now,
            "until": now + timedelta(days=EVENT_DAYS),
        }
        change: dict[str, Any] = {"$set": fields, **({"$unset": past} if past else {})}
        self._heads.update_one({"_id": _id(trigger, key)}, change, upsert=True)

    # ------------------------------------------------------------ beside each delivery

    def is_compared(self, trigger: str, event: ForgeEvent) -> bool:
        """Say whether it is to be kept what an event tells: the trigger is compared with its forge."""
        if key_of(event) is None:
            return False
        return self._triggers.find_one({"_id": trigger, "compare_at": {"$exists": True}}, ["_id"]) is not None

    def is_late(self, trigger: str, delivery: str, event: ForgeEvent) -> bool:
        """Say whether a delivery tells of what was found by comparison before."""
        key = key_of(event)
        if key is None or delivery.startswith("recovered-"):
            return False
        return self._heads.find_one({"_id": _id(trigger, key), "recovered": event.commit}, ["_id"]) is not None

    def told(self, trigger: str, delivery: str, event: ForgeEvent) -> None:
        """Note what a delivery told of."""
        key = key_of(event)
        if key is None or event.commit is None:
            return
        late = {} if delivery.startswith("recovered-") else {"recovered": ""}
        self._note(trigger, key, event.commit, datetime.now(UTC), {"missing": "", "missing_since": "", **late})


def key_of(event: ForgeEvent) -> str | None:
    """Return the branch or pull request that an event tells the commit of."""
    if event.kind == "push" and event.commit is not None:
        return f"branch {event.ref}"
    if event.kind == "pull_request" and event.change in TELLING and event.number is not None:
        return f"pull {event.number}"
    return None


def _id(trigger: str, key: str) -> str:
    return f"{trigger} {key}"


def _of(spec: TriggerSpec) -> str:
    return f"{spec.forge} {spec.repository} {','.join(sorted(spec.events))}"
