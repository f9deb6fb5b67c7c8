"""Circuits: failures in a row that are not the script's, counted by repository, profile, credential and queue.

A lane's credential is its profile's key for the model.

A document is there while something fails; a success removes it. So where all is well there is nothing to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo.client_session import ClientSession

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import Pipeline, literal, message_fields
from keruta.domain import permissions
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.circuits import (
    BLAMED,
    PROBE_FIRST_SECONDS,
    PROBE_MOST_SECONDS,
    CircuitKind,
    CircuitView,
    opens_after,
)
from keruta.domain.catalog.kinds import KINDS as CATALOG_KINDS
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.errors import Forbidden, NotFound
from keruta.ports import Document

KINDS: tuple[CircuitKind, ...] = ("repository", "profile", "credential", "queue")

# Every open circuit, with whether it is time to try one task.
OPEN_CIRCUITS: Pipeline = [
    {"$match": {"open": True}},
    {"$project": {"kind": 1, "name": 1, "due": {"$lte": ["$probe_at", "$$NOW"]}}},
]


def circuit_id(kind: str, name: str) -> str:
    """A circuit's identity: a repository's name may be an address, which no path could hold."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:20]


class MongoCircuits:
    """Counts, opens, closes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._circuits = database["circuits"]
        self._profiles = database["profiles"]

    def failed(self, lane: Mapping[str, str], task_id: str, reason: str, message: Message) -> None:
        """Another failure in a row, of whoever is to blame and of the queue. Does nothing for the script's own."""
        blamed = BLAMED.get(reason)
        if blamed is None:
            return
        kinds: tuple[CircuitKind, ...] = (blamed, "queue")
        with translated():
            lane = self._with_credential(lane) if blamed == "credential" else lane
            for kind in kinds:
                name = lane.get(kind) or ""
                if name:
                    self._count(kind, name, task_id, reason, message)

    def succeeded(self, lanes: Iterable[Mapping[str, str]]) -> None:
        """Close the circuits of everything that these tasks used successfully."""
        ids = {circuit_id(kind, lane[kind]) for lane in lanes for kind in KINDS if lane.get(kind)}
        if ids:
            with translated():
                match = {"_id": {"$in": sorted(ids)}}
                if self._circuits.find_one(match, ["_id"]) is not None:  # a write waits for the disk; this is rare
                    self._circuits.delete_many(match)

    def answered(self, profiles: Iterable[str]) -> None:
        """Close the circuits of these profiles' credentials: a model's server has taken them."""
        names = sorted(set(profiles))
        with translated():
            if names and any(row["kind"] == "credential" for row in self.open_ones()):
                rows = self._profiles.find({"_id": {"$in": names}}, ["spec.model_credential"])
                keys = [row["spec"].get("model_credential") for row in rows]
                ids = [circuit_id("credential", key) for key in keys if key]
                self._circuits.delete_many({"_id": {"$in": ids}})

    def keys(self, credentials: Iterable[str]) -> dict[str, str]:
        """Return the profiles whose model's key is one of these credentials, each with that."""
        match = {"spec.model_credential": {"$in": sorted(credentials)}}
        return {row["_id"]: row["spec"]["model_credential"] for row in self._profiles.find(match, ["spec"])}

    def _with_credential(self, lane: Mapping[str, str]) -> Mapping[str, str]:
        row = self._profiles.find_one({"_id": lane.get("profile")}, ["spec.model_credential"]) or {"spec": {}}
        return {**lane, "credential": row["spec"].get("model_credential") or ""}

    def holds(self, lane: Mapping[str, str], reason: str) -> bool:
        """Return whether one more failure for this reason opens a circuit or finds it open; its task then waits."""
        kind = BLAMED.get(reason)
        if kind is None or not lane.get(kind):
            return False
        limit = opens_after(kind)
        match = {"_id": circuit_id(kind, lane[kind]), "failures": {"$gte": limit}}
        with translated():
            return self._circuits.count_documents(match) == 1

    def open_ones(self) -> list[Document]:
        """Every open circuit, with whether it is time to try one task."""
        return list(self._circuits.aggregate(OPEN_CIRCUITS, hint="open"))

    def page(self, who: Principal) -> list[CircuitView]:
        """Return the circuits of what someone may read; there are few, or everything is on fire."""
        with translated():
            rows = list(self._circuits.find().sort([("open", -1), ("_id", 1)]).limit(500))
            return self._shown(who, rows)

    def open_of(self, readers: Sequence[str], lane: Mapping[str, str]) -> list[CircuitView]:
        """The open circuits of what a lane draws on; without the last task where these readers may not read it."""
        lane = self._with_credential(lane)
        ids = [circuit_id(kind, lane[kind]) for kind in KINDS if lane.get(kind)]
        rows = list(self._circuits.find({"_id": {"$in": ids}, "open": True}))
        tasks = self._readable_tasks(readers, rows)
        return [to_circuit(row, with_task=row["last_task"] in tasks) for row in rows]

    def of(self, kind: str, names: Iterable[str]) -> dict[str, CircuitView]:
        """The circuits of some entries, by name, whoever asks."""
        ids = [circuit_id(kind, name) for name in names]
        return {row["name"]: to_circuit(row) for row in self._circuits.find({"_id": {"$in": ids}})}

    def seen(self, who: Principal, kind: str, names: Iterable[str]) -> dict[str, CircuitView]:
        """The circuits of some entries that someone may read, by name."""
        ids = [circuit_id(kind, name) for name in names]
        return {one.name: one for one in self._shown(who, list(self._circuits.find({"_id": {"$in": ids}})))}

    def close(self, who: Principal, identity: str) -> CircuitView:
        """A person says that it works again.

        Raises:
            NotFound: also for what they may not read.
            Forbidden: they may not run tasks on it.
        """
        with translated():
            row = self._circuits.find_one({"_id": identity})
            shown = self._shown(who, [row]) if row is not None else []
            if row is None or not shown:
                raise NotFound(message("catalog_no_circuit"))
            if refusal := permissions.close_refusal(who, row["kind"], row["name"], self._access(row)):
                raise Forbidden(refusal, reason="GrantMissing")
            self._circuits.delete_one({"_id": identity})
        return shown[0]

    def close_of(self, who: Principal, kind: str, name: str) -> None:
        """A look at it has shown that it works. Nothing happens for someone who may not run tasks on it."""
        with translated():
            row = {"kind": kind, "name": name}
            if permissions.close_refusal(who, kind, name, self._access(row)) is None:
                self._circuits.delete_one({"_id": circuit_id(kind, name)})

    def mended(self, kind: str, name: str, session: ClientSession) -> None:
        """An entry was changed, so what is counted of it says nothing any more."""
        self._circuits.delete_one({"_id": circuit_id(kind, name)}, session=session)

    def _shown(self, who: Principal, rows: Sequence[Document]) -> list[CircuitView]:
        """Return the circuits whose entries someone may read, each with its last task if they may read that, too."""
        readers = {"$in": who.readers}
        tasks = self._readable_tasks(who.readers, rows)
        entries: set[tuple[str, str]] = set()
        for kind in KINDS:
            names = [row["name"] for row in rows if row["kind"] == kind]
            found = self._database[CATALOG_KINDS[kind].collection].find(
                {"_id": {"$in": names}, "readers": readers}, ["_id"]
            )
            entries |= {(kind, row["_id"]) for row in found} if names else set()
        shown = []
        for row in rows:
            reads_task = row["last_task"] in tasks
            if permissions.may_see_circuit(
                who, row["name"], reads_entry=(row["kind"], row["name"]) in entries, reads_task=reads_task
            ):
                shown.append(to_circuit(row, with_task=reads_task))
        return shown

    def _readable_tasks(self, readers: Sequence[str], rows: Sequence[Document]) -> set[str]:
        """Return which of the circuits' last tasks someone may read."""
        match = {"_id": {"$in": [row["last_task"] for row in rows]}, "readers": {"$in": list(readers)}}
        return {row["_id"] for row in self._database["tasks"].find(match, ["_id"])} if rows else set()

    def _access(self, row: Mapping[str, Any]) -> Access | None:
        collection = self._database[CATALOG_KINDS[row["kind"]].collection]
        entry = collection.find_one({"_id": row["name"]}, ["spec.access"]) or {}
        found = (entry.get("spec") or {}).get("access")
        if row["kind"] == "credential":  # without grants, administrators alone may use it
            granted = structs.from_plain(found or {}, CredentialAccess)
            return Access(read=granted.read, run=granted.use, manage=granted.manage)
        return structs.from_plain(found, Access) if found is not None else None

    def _count(self, kind: CircuitKind, name: str, task_id: str, reason: str, message: Message) -> None:
        limit = opens_after(kind)
        failures = {"$add": [{"$ifNull": ["$failures", 0]}, 1]}
        wait = {"$multiply": [PROBE_FIRST_SECONDS, {"$pow": [2, {"$min": [10, {"$subtract": ["$failures", limit]}]}]}]}
        milliseconds = {"$toLong": {"$multiply": [1000, {"$min": [PROBE_MOST_SECONDS, wait]}]}}
        told: dict[str, Any] = {
            "kind": kind, "name": literal(name), "failures": failures, "reason": literal(reason),
            "last_task": task_id, **message_fields(message),
        }  # fmt: skip
        self._circuits.update_one(
            {"_id": circuit_id(kind, name)},
            [
                {"$set": told},
                {"$set": {"open": {"$gte": ["$failures", limit]}}},
                {
                    "$set": {
                        "opened_at": {"$cond": ["$open", {"$ifNull": ["$opened_at", "$$NOW"]}, None]},
                        "probe_at": {"$cond": ["$open", {"$add": ["$$NOW", milliseconds]}, None]},
                    }
                },
            ],
            upsert=True,
        )


def to_circuit(row: Mapping[str, Any], *, with_task: bool = True) -> CircuitView:
    """Return a circuit's document as the API shows it. The last message belongs to the last task."""
    return CircuitView(
        id=row["_id"],
        kind=row["kind"],
        name=row["name"],
        open=row["open"],
        failures=row["failures"],
        reason=row["reason"],
        message=row["message"] if with_task else "",
        message_code=row.get("message_code") if with_task else None,
        message_arguments=row.get("message_arguments") if with_task else None,
        last_task=row["last_task"] if with_task else "",
        opened_at=row.get("opened_at"),
        probe_at=row.get("probe_at"),
    )
