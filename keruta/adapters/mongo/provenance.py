"""Statements on attempts, and the public keys that they were signed with.

`tasks.provenance_due` is there while attempts that have ended await their statements. A statement is written once, and
a key is never removed: what it signed stays verifiable.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import msgspec

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import to_view
from keruta.domain.lifecycle import ENDED
from keruta.domain.naming import attempt_id
from keruta.domain.provenance import Envelope, PublicKey, awaits_image
from keruta.ports import Document, DueProvenance

AT_ONCE = 100


class MongoProvenance:
    """`keruta.ports.ProvenanceStore`, and what admin shows of it."""

    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]
        self._statements = database["provenance"]
        self._keys = database["provenance_keys"]

    def due(self) -> list[DueProvenance]:
        """Return tasks that await statements, each with its attempts that have ended and have none yet.

        Tasks with an attempt whose image may still be reported are left for the next time.
        """
        pipeline: list[Document] = [
            {"$match": {"provenance_due": {"$exists": True}}},
            {"$sort": {"provenance_due": 1}},
            {"$limit": AT_ONCE},
            {"$set": {"now": "$$NOW"}},
        ]
        with translated():
            rows = list(self._tasks.aggregate(pipeline, hint="provenance_due"))
            ids = [attempt_id(row["_id"], n) for row in rows for n in range(1, row["attempt_count"] + 1)]
            signed = {one["_id"] for one in self._statements.find({"_id": {"$in": ids}}, ["_id"])} if ids else set()
        found = [(row["now"], self._due(row, signed)) for row in rows]
        return [due for now, due in found if not any(awaits_image(attempt, now) for attempt in due.attempts)]

    @staticmethod
    def _due(row: Document, signed: Container[str]) -> DueProvenance:
        view = to_view(row)
        at_work = row["status"] not in ENDED and row.get("attempt") is not None
        ended = view.attempts[:-1] if at_work else view.attempts
        missing = [one for one in ended if attempt_id(view.id, one.number) not in signed]
        return DueProvenance(task=view, attempts=missing, since=row["provenance_due"])

    def publish(self, key: PublicKey) -> None:
        fields = {"public_key": {"$literal": key.public_key}, "since": {"$ifNull": ["$since", "$$NOW"]}}
        with translated():
            self._keys.update_one({"_id": key.keyid}, [{"$set": fields}], upsert=True)

    def keep(self, due: DueProvenance, envelopes: Iterable[tuple[str, Envelope]]) -> None:
        for identity, envelope in envelopes:
            text = msgspec.json.encode(envelope).decode()
            fresh = {
                "envelope": {"$ifNull": ["$envelope", {"$literal": text}]},
                "signed_at": {"$ifNull": ["$signed_at", "$$NOW"]},
            }
            with translated():
                self._statements.update_one({"_id": identity}, [{"$set": fresh}], upsert=True)
        with translated():
            same = {"_id": due.task.id, "provenance_due": due.since}
            self._tasks.update_one(same, {"$unset": {"provenance_due": ""}})

    def envelope(self, attempt: str) -> Envelope | None:
        """The signed statement on an attempt, None while there is none."""
        with translated():
            row = self._statements.find_one({"_id": attempt})
        return structs.from_json(row["envelope"].encode(), type=Envelope) if row is not None else None

    def keys(self) -> list[PublicKey]:
        """Every key that was ever used, the oldest first."""
        with translated():
            rows = list(self._keys.find().hint("_id_"))
        keys = [PublicKey(keyid=row["_id"], public_key=row["public_key"], since=row["since"]) for row in rows]
        return sorted(keys, key=lambda key: (key.since is None, key.since, key.keyid))
