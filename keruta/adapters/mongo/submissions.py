"""Takes new tasks in: one write, or two with an idempotency key."""

from __future__ import annotations

import datetime
import hashlib

import msgspec
from pymongo import ReturnDocument

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import insert_new, to_view
from keruta.domain.messages import message
from keruta.domain.task import NewTask
from keruta.errors import InvalidRequest
from keruta.ports import Accepted, IdempotencyKey, Outbox

KEY_LIFETIME = datetime.timedelta(hours=24)


class MongoIntake:
    """`keruta.ports.Intake` on MongoDB."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._tasks = database["tasks"]
        self._keys = database["keys"]
        self._outbox = outbox

    def accept(self, new: NewTask, key: IdempotencyKey | None) -> Accepted:
        with translated():
            if key is not None:
                new = self._under_key(new, key)
            document, event = insert_new(self._tasks, new)
        if event is not None:
            self._outbox.send(new.id, [event])
        return Accepted(task=to_view(document), repeated=event is None)

    def _under_key(self, new: NewTask, key: IdempotencyKey) -> NewTask:
        """First the key, then the task of the identity that the key holds: a repeat finds or finishes the first."""
        held = self._keys.find_one_and_update(
            {"_id": hashlib.sha256(f"{key.subject}\n{key.key}".encode()).hexdigest()},
            {
                "$setOnInsert": {
                    "body_hash": key.body_hash,
                    "task": new.id,
                    "until": datetime.datetime.now(datetime.UTC) + KEY_LIFETIME,
                }
            },
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert held is not None
        if held["body_hash"] != key.body_hash:
            raise InvalidRequest(
                message("http_key_reused"),
                reason="IdempotencyKeyReused",
            )
        return msgspec.structs.replace(new, id=held["task"])
