"""Badges of repositories: made, listed, revoked, and the state that one shows."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from keruta import structs
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.tasks import seen_keys
from keruta.domain.badges import BADGE_ID, BADGES_OF_ONE, UNKNOWN, Badge, BadgeRequest, BadgeState
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import Conflict, NotFound
from keruta.ports import Document
from keruta.remembered import Remembered

ID_BYTES = 24
LOOKED_AT = 200  # the newest tasks of the repository
REMEMBERED_SECONDS = 10.0
REMEMBERED = 1000


class MongoBadges:
    """`keruta.ports.watching.Badges` on MongoDB.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._badges = database["badges"]
        self._repositories = database["repositories"]
        self._tasks = database["tasks"]
        self._audit = MongoAudit(database)
        self._remembered: Remembered[str, BadgeState] = Remembered(REMEMBERED_SECONDS, REMEMBERED, clock)

    def make(self, who: Principal, repository: str, wanted: BadgeRequest) -> Badge:
        """Make a badge with a random id, of a repository that was found theirs to change. Raises Conflict, NotFound."""
        with translated():
            entry = self._entry(repository)
            if self._badges.count_documents({"repository": repository}, limit=BADGES_OF_ONE) >= BADGES_OF_ONE:
                raise Conflict(message("badges_too_many", count=BADGES_OF_ONE), reason="TooManyBadges")
            identity = secrets.token_urlsafe(ID_BYTES)
            fields = {
                "repository": repository, "label": wanted.label or repository, "task": wanted.task,
                "created_by": who.name, "of": entry["created_at"],
            }  # fmt: skip
            made = [{"$set": {**{name: {"$literal": value} for name, value in fields.items()}, "created_at": "$$NOW"}}]
            self._badges.update_one({"_id": identity}, made, upsert=True)
            self._audit.record(
                who.name, "change", "repository", repository, readers=entry["readers"], changes=["badge"]
            )
            row = self._badges.find_one({"_id": identity})
        assert row is not None
        return _badge(row)

    def of(self, repository: str) -> list[Badge]:
        with translated():
            return [_badge(row) for row in self._badges.find({"repository": repository}).sort("_id", 1)]

    def revoke(self, who: Principal, repository: str, identity: str) -> None:
        """Revoke a badge of a repository that was found theirs to change. Raises NotFound."""
        with translated():
            if self._badges.delete_one({"_id": identity, "repository": repository}).deleted_count != 1:
                raise NotFound(message("badge_missing"), reason="BadgeNotFound")
            entry = self._entry(repository)
            self._audit.record(
                who.name, "change", "repository", repository, readers=entry["readers"], changes=["badge"]
            )
        self._remembered.forget(identity)

    def shown(self, identity: str) -> BadgeState:
        """Return what a badge shows, ten seconds old at most; for any other id the same as for one that was revoked."""
        if not BADGE_ID.fullmatch(identity):
            return UNKNOWN
        with translated():
            return self._remembered.of(identity, lambda: self._look(identity))

    def _look(self, identity: str) -> BadgeState:
        badge = self._badges.find_one({"_id": identity})
        entry = self._repositories.find_one({"_id": badge["repository"]}) if badge is not None else None
        if badge is None or entry is None or entry["created_at"] != badge["of"]:
            return UNKNOWN
        seen = seen_keys(entry["readers"], f"repository={badge['repository']}")
        ended = {
            "status": {"$in": ["succeeded", "failed"]},
            **({"name": {"$eq": badge["task"]}} if badge["task"] else {}),
        }
        stages: list[dict[str, Any]] = [
            {"$match": {"seen_by": {"$in": seen}}}, {"$sort": {"_id": -1}}, {"$limit": LOOKED_AT},
            {"$match": ended}, {"$limit": 1}, {"$project": {"status": 1}},
        ]  # fmt: skip
        newest = next(iter(self._tasks.aggregate(stages, hint="seen_by")), None)
        return BadgeState(label=badge["label"], state=newest["status"] if newest is not None else "unknown")

    def _entry(self, repository: str) -> Document:
        entry = self._repositories.find_one({"_id": repository}, ["created_at", "readers"])
        if entry is None:
            raise NotFound(message("badge_missing"), reason="BadgeNotFound")
        return entry


def _badge(row: Mapping[str, Any]) -> Badge:
    fields = {name: row[name] for name in ("repository", "label", "task", "created_by", "created_at")}
    return structs.from_plain({"id": row["_id"], **fields}, Badge)
