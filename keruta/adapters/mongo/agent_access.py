"""Checks that an agent's token is still valid for its request: its worker's session, its attempt."""

from __future__ import annotations

from keruta.adapters.mongo.client import Database, translated
from keruta.domain import permissions
from keruta.domain.messages import message
from keruta.domain.principal import Sender
from keruta.errors import Forbidden, NotFound, Unauthenticated
from keruta.ports import Document

_STANDING = {"status": 1, "attempt.id": 1, "attempt.number": 1, "attempt.worker": 1}


class MongoAgentAccess:
    """`keruta.ports.AgentAccess` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]
        self._workers = database["workers"]

    def check_session(self, sender: Sender) -> None:
        if sender.worker is None:
            return
        with translated():
            current = self._workers.find_one({"_id": sender.worker, "session": sender.session}, ["_id"])
        if current is None:
            raise Unauthenticated(message("worker_session_void"), reason="SessionVoid")

    def check_attempt(self, sender: Sender, task: str, number: int) -> None:
        self.check_session(sender)
        with translated():
            found: Document | None = self._tasks.find_one({"_id": task}, _STANDING)
        attempt = (found or {}).get("attempt") or {}
        if found is None or attempt.get("number") != number:
            raise NotFound(message("attempt_missing"))
        if sender.attempt not in (None, attempt["id"]):
            raise Forbidden(message("attempt_other_token"))
        if sender.worker is not None and sender.worker != attempt["worker"]:
            raise Forbidden(message("attempt_other_worker"))
        if permissions.attempt_is_over(found["status"]):
            raise Forbidden(message("attempt_over"), reason="AttemptEnded")
