"""Memory of forges beside deliveries: keruta's account there, closed pull requests, and what tasks have pushed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import to_view
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import EVENT_DAYS
from keruta.domain.forges import ForgeEvent
from keruta.domain.lifecycle import ENDED
from keruta.domain.principal import Principal
from keruta.domain.task import TaskView
from keruta.ports.deliveries import OwnAccount

ACCOUNT_HOURS = 24  # after so long the forge is asked again


class ForgeMemory:
    """The part of `keruta.ports.deliveries.DeliveryStore` that is about forges."""

    def __init__(self, database: Database) -> None:
        self._forges = database["forges"]
        self._credentials = database["credentials"]
        self._accounts = database["forge_accounts"]
        self._turns = database["forge_turns"]
        self._groups = database["trigger_groups"]
        self._tasks = database["tasks"]

    # ------------------------------------------------------------ keruta's own account

    def account(self, spec: TriggerSpec) -> OwnAccount:
        with translated():
            of = self._signs_in_by(spec.forge) if spec.forge is not None else None
            if of is None:
                return OwnAccount(known=True)
            row = self._accounts.find_one({"_id": spec.forge, "of": of})
        if row is None:
            return OwnAccount(known=False)
        fresh = row["at"] > datetime.now(UTC) - timedelta(hours=ACCOUNT_HOURS)
        return OwnAccount(known=fresh, id=row["account"])

    def note_account(self, forge: str, identity: int | None) -> None:
        with translated():
            fields = {"of": self._signs_in_by(forge), "account": identity, "at": datetime.now(UTC)}
            self._accounts.update_one({"_id": forge}, {"$set": fields}, upsert=True)

    def _signs_in_by(self, forge: str) -> str | None:
        """Return a word for the forge's address and the saved credential; None where keruta does not sign in."""
        row = self._forges.find_one({"_id": forge}, ["spec.url", "spec.type", "spec.credential"]) or {}
        name = row.get("spec", {}).get("credential")
        held = self._credentials.find_one({"_id": name}, ["updated_at"]) if name else None
        if held is None:
            return None
        return f"{row['spec']['type']} {row['spec'].get('url')} {name} {held['updated_at'].isoformat()}"

    def rests(self, forge: str) -> bool:
        with translated():
            resting = {"_id": forge, "rests_until": {"$gt": datetime.now(UTC)}}
            return self._turns.find_one(resting, ["_id"]) is not None

    def rest(self, forge: str, seconds: float) -> None:
        now = datetime.now(UTC)
        change = {"$max": {"rests_until": now + timedelta(seconds=seconds)}, "$setOnInsert": {"until": now}}
        with translated():
            self._turns.update_one({"_id": forge}, change, upsert=True)

    # ------------------------------------------------------------ what tasks have caused, and what ends them

    def level(self, event: ForgeEvent) -> int | None:
        with translated():
            row = None
            if event.task is not None:
                row = self._tasks.find_one({"_id": event.task}, ["origin.level"])
            if row is None and event.commit is not None and event.ref is not None:
                pushed = {"attempt.result_branch": {"$in": _names(event.ref)}, "attempt.result_commit": event.commit}
                row = self._tasks.find_one(pushed, ["origin.level"], sort=[("_id", -1)], hint="result_branch")
        return int((row.get("origin") or {}).get("level", 0)) if row is not None else None

    def close(self, spec: TriggerSpec, event: ForgeEvent) -> list[str]:
        now = datetime.now(UTC)
        closed = {"closed_at": event.at or now}
        until = {"until": now + timedelta(days=EVENT_DAYS)}
        about: dict[str, Any] = {"origin.pull_request": True, "origin.number": event.number}
        if event.kind == "merge_group":
            about = {"origin.event": "merge_group", "origin.ref": event.ref}
        with translated():
            self._groups.update_one({"_id": _closed(spec.name, event)}, {"$max": closed, "$set": until}, upsert=True)
            before = {"origin.trigger": spec.name, "origin.at": {"$not": {"$gt": event.at or now}}}
            open_ones = {"draws_on": f"repository:{spec.repository}", **before, **about}
            rows = self._tasks.find(open_ones, ["_id"]).hint("draws_on")
            return [str(row["_id"]) for row in rows]

    def closed(self, trigger: str, event: ForgeEvent) -> bool:
        if event.at is None:
            return False
        with translated():
            row = self._groups.find_one({"_id": _closed(trigger, event), "closed_at": {"$gte": event.at}}, ["_id"])
        return row is not None

    def conversation(self, spec: TriggerSpec, event: ForgeEvent, who: Principal) -> TaskView | None:
        pushed = {
            "attempt.result_branch": {"$in": _names(event.ref or "")}, "spec.prompt": {"$type": "string"},
            "spec.repository.name": spec.repository, "readers": {"$in": who.readers},
            "status": {"$in": sorted(ENDED)},
        }  # fmt: skip
        with translated():
            row = self._tasks.find_one(pushed, sort=[("_id", -1)], hint="result_branch")
        return to_view(row) if row is not None else None


def _names(ref: str) -> list[str]:
    return [ref, f"refs/heads/{ref}"]


def _closed(trigger: str, event: ForgeEvent) -> str:
    return f"{trigger} closed {event.number if event.number is not None else event.ref}"
