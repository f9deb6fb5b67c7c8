"""Record of what forges have told triggers: `{_id, trigger, key, commit, missing, missing_since, recovered, until}`.

`commit` is where the last delivery, or the first comparison, saw a branch, tag or pull request; `missing` one that a
comparison saw since; `recovered` the one that was made a delivery of in place of the forge's. Of what was done to an
issue, and of Gitea's reviews, `recovered` is the time.
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
from keruta.domain.forge_recovery import NEAR, head_of, is_told, moments_of
from keruta.domain.forges import ForgeEvent
from keruta.domain.naming import earliest_id
from keruta.ports.recovery import Compared

EVERY = timedelta(minutes=15)
GRACE = timedelta(minutes=2)  # a delivery may be on its way for so long
NONE = "0" * 40
CLOCKS = timedelta(minutes=1)  # a forge's clock and keruta's differ by less
COMPARED = ("push", "tag", "pull_request", "issue", "comment", "review_comment")


class MongoRecovery:
    """`keruta.ports.recovery.RecoveryStore` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._triggers = database["triggers"]
        self._heads = database["forge_heads"]
        self._deliveries = database["deliveries"]

    def due(self, now: datetime) -> Compared | None:
        waits = {"compare_at": {"$lte": now}, "spec.forge": {"$gt": ""}}
        new = {"compare_at": {"$exists": False}, "spec.forge": {"$gt": ""}}
        with translated():
            for match, hint in ((waits, "compare_at"), (new, "forge")):
                row = self._triggers.find_one_and_update(
                    {**match, "spec.events": {"$in": list(COMPARED)}}, {"$set": {"compare_at": now + EVERY}},
                    projection=["spec", "compared_at", "compared_of", "compared_tags"], hint=hint,
                    return_document=ReturnDocument.AFTER,
                )  # fmt: skip
                if row is not None:
                    spec = structs.from_plain(row["spec"], TriggerSpec)
                    if row.get("compared_of") == _of(spec):
                        return Compared(spec=spec, since=row["compared_at"], tags="compared_tags" in row)
                    # New, or about another repository, or other events, than what is on record.
                    self._heads.delete_many({"trigger": spec.name})
                    return Compared(spec=spec)
        return None

    def changed(self, due: Compared, key: str, commit: str, now: datetime) -> str | None:
        name = _id(due.spec.name, key)
        with translated():
            row = self._heads.find_one({"_id": name})
            first = due.since is None or (key.startswith("tag ") and not due.tags)
            if row is None and first:  # the first comparison: there is nothing to miss yet
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

    def heard(self, trigger: str, found: ForgeEvent) -> bool:
        if found.at is None or not moments_of(found):
            return False
        match = {"trigger": trigger, "_id": {"$gte": earliest_id(found.at - CLOCKS)}, "event.kind": found.kind}
        with translated():
            rows = self._deliveries.find({**match, "event.number": found.number}, ["event"]).hint("trigger")
            return is_told(found, (structs.from_plain(row["event"], ForgeEvent) for row in rows))

    def recovering(self, trigger: str, found: ForgeEvent) -> None:
        with translated():
            if (key := head_of(found)) is not None:
                self._heads.update_one({"_id": _id(trigger, key)}, {"$set": {"recovered": found.commit}})
            for key in moments_of(found) if found.at is not None else ():
                about = {"trigger": trigger, "key": key, "until": datetime.now(UTC) + timedelta(days=EVENT_DAYS)}
                self._heads.update_one(
                    {"_id": _id(trigger, key)}, {"$set": {**about, "recovered": found.at}}, upsert=True
                )

    def gone(self, due: Compared, prefix: str, there: set[str], now: datetime) -> list[str]:
        with translated():
            # One that was told of, or found, just now may be newer than the list.
            before = [{field: {"$lt": now - GRACE}} for field in ("at", "missing_since")]
            rows = self._heads.find({"trigger": due.spec.name, "$or": before}, ["key"]).hint("trigger")
            keys = [row["key"] for row in rows if row["key"].startswith(prefix) and row["key"] not in there]
            those = {"_id": {"$in": [_id(due.spec.name, key) for key in keys]}}
            # What was recovered is remembered: its delivery may still come.
            self._heads.delete_many({**those, "recovered": {"$exists": False}})
            fields = dict.fromkeys(("commit", "at", "missing", "missing_since"), "")
            self._heads.update_many(those, {"$unset": fields})
        return keys

    def compared(self, due: Compared, now: datetime) -> None:
        with translated():
            missing = {"trigger": due.spec.name, "missing": {"$exists": True}}
            soon = self._heads.find_one(missing, ["_id"], hint="trigger") is not None
            times: dict[str, Any] = {
                "compared_at": now, "compared_of": _of(due.spec), "compare_at": now + (GRACE if soon else EVERY),
            }  # fmt: skip
            if "tag" in due.spec.events:
                times["compared_tags"] = True
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
        if head_of(event) is None and not moments_of(event):
            return False
        return self._triggers.find_one({"_id": trigger, "compare_at": {"$exists": True}}, ["_id"]) is not None

    def is_late(self, trigger: str, delivery: str, event: ForgeEvent) -> bool:
        """Say whether a delivery tells of what was found by comparison before."""
        if delivery.startswith("recovered-"):
            return False
        if (key := head_of(event)) is not None:
            return self._heads.find_one({"_id": _id(trigger, key), "recovered": event.commit}, ["_id"]) is not None
        moments = [_id(trigger, key) for key in moments_of(event)]
        if not moments or event.at is None:
            return False
        same = {"_id": {"$in": moments}, "recovered": {"$gte": event.at - NEAR}}
        return self._heads.count_documents(same) == len(moments)

    def told(self, trigger: str, delivery: str, event: ForgeEvent) -> None:
        """Note what a delivery told of."""
        key = head_of(event)
        if key is None or event.commit is None:
            return
        late = {} if delivery.startswith("recovered-") else {"recovered": ""}
        self._note(trigger, key, event.commit, datetime.now(UTC), {"missing": "", "missing_since": "", **late})


def _id(trigger: str, key: str) -> str:
    return f"{trigger} {key}"


def _of(spec: TriggerSpec) -> str:
    return f"{spec.forge} {spec.repository} {','.join(sorted(spec.events))}"
