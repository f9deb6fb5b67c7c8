"""People and API keys as administrators and their owners see them: listed, disabled, made, revoked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from keruta import structs
from keruta.adapters.identity.verifier import KEY_PREFIX
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.paging import newest_first
from keruta.adapters.mongo.users import SETTLE_SECONDS, hash_of
from keruta.domain import permissions
from keruta.domain.audit import Action
from keruta.domain.catalog.common import Page
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyMade, ApiKeyRequest, ApiKeyView, UserView
from keruta.errors import Conflict, NotFound
from keruta.ports import Document

KEYS_OF_ONE = 50


class MongoAccounts:
    """Accounts in one database."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._keys = database["api_keys"]
        self._audit = MongoAudit(database)

    # ------------------------------------------------------------ people

    def users(self, *, search: str | None, limit: int, cursor: str | None) -> Page[UserView]:
        """Return a page of users by name; `search` is what the name begins with."""
        match: Document = {}
        if search:
            match["name"] = {"$gte": search, "$lt": search + "\U0010ffff"}
        if cursor is not None:
            name, _, subject = cursor.rpartition("\n")
            match = {"$and": [match, {"$or": [{"name": {"$gt": name}}, {"name": name, "_id": {"$gt": subject}}]}]}
        with translated():
            rows = list(self._users.find(match).sort([("name", 1), ("_id", 1)]).hint("name").limit(limit + 1))
        items = [_user(row) for row in rows[:limit]]
        after = f"{items[-1].name}\n{items[-1].subject}" if len(rows) > limit else None
        return Page(items=items, next=after)

    def user(self, subject: str) -> UserView:
        """Raises NotFound."""
        with translated():
            row = self._users.find_one({"_id": subject})
        if row is None:
            raise NotFound(message("identity_no_such_person"), reason="UserNotFound")
        return _user(row)

    def names(self, subjects: Iterable[str]) -> dict[str, str]:
        """Return the names of those subjects who have been here."""
        with translated():
            rows = self._users.find({"_id": {"$in": sorted(set(subjects))}}, ["name"])
            return {row["_id"]: row["name"] for row in rows}

    def set_disabled(self, who: Principal, subject: str, *, disabled: bool) -> UserView:
        """Disable or enable a person, at once and whatever tokens they have.

        Raises:
            NotFound.
        """
        change = {"disabled": disabled, "disabled_by": {"$literal": who.name} if disabled else None}
        with translated():
            row = self._users.find_one_and_update({"_id": subject}, [{"$set": change}], return_document=True)
            if row is None:
                raise NotFound(message("identity_no_such_person"), reason="UserNotFound")
            action: Action = "disable" if disabled else "enable"
            self._audit.record(who.name, action, "user", subject, readers=["role:admin"])
        time.sleep(SETTLE_SECONDS)
        return _user(row)

    def note_roles(self, who: Principal, subject: str, roles: Sequence[str]) -> UserView:
        """The identity provider has given them these. Raises NotFound."""
        with translated():
            row = self._users.find_one_and_update(
                {"_id": subject}, {"$set": {"roles": list(roles)}}, return_document=True
            )
            if row is None:
                raise NotFound(message("identity_no_such_person"), reason="UserNotFound")
            self._audit.record(who.name, "give_roles", "user", subject, readers=["role:admin"], changes=roles)
        return _user(row)

    # ------------------------------------------------------------ API keys

    def make_key(self, who: Principal, wanted: ApiKeyRequest) -> ApiKeyMade:
        """A key is there; it is told this once.

        Raises:
            Conflict: there are too many.
        """
        secret = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        row: Document = {
            "_id": new_id(),
            "hash": hash_of(secret),
            "name": wanted.name,
            "owner": who.subject,
            "owner_name": who.name,
            "roles": list(wanted.roles),
            "created_at": now,
            "expires_at": now + timedelta(days=wanted.days),
        }
        with translated():
            alive = {"owner": who.subject, "revoked_at": None, "expires_at": {"$gt": now}}
            if self._keys.count_documents(alive, limit=KEYS_OF_ONE) >= KEYS_OF_ONE:
                raise Conflict(message("identity_too_many_keys", count=KEYS_OF_ONE), reason="TooManyKeys")
            self._keys.insert_one(row)
            self._audit.record(who.name, "create", "api_key", row["_id"], readers=["role:admin"])
        return ApiKeyMade(key=f"{KEY_PREFIX}{row['_id']}_{secret}", shown=_key(row))

    def keys(self, who: Principal, *, limit: int, cursor: str | None) -> Page[ApiKeyView]:
        """One's own, newest first; an administrator's list has everyone's."""
        everyones = permissions.sees_all_keys(who)
        match: Document = {} if everyones else {"owner": who.subject}
        hint = "_id_" if everyones else "owner"
        rows, after = newest_first(self._keys, match, limit=limit, cursor=cursor, hint=hint)
        return Page(items=[_key(row) for row in rows], next=after)

    def revoke(self, who: Principal, identity: str) -> None:
        """Revoke an API key; it is refused from the moment this returns.

        Raises NotFound, also for another person's key.
        """
        match: Document = {"_id": identity, **({} if permissions.sees_all_keys(who) else {"owner": who.subject})}
        now = [{"$set": {"revoked_at": {"$ifNull": ["$revoked_at", "$$NOW"]}}}]
        with translated():
            if self._keys.update_one(match, now).matched_count != 1:
                raise NotFound(message("identity_no_such_key"), reason="ApiKeyNotFound")
            self._audit.record(who.name, "revoke", "api_key", identity, readers=["role:admin"])
        time.sleep(SETTLE_SECONDS)


def _user(row: Mapping[str, Any]) -> UserView:
    fields = {name: value for name, value in row.items() if name in UserView.__struct_fields__}
    return structs.from_plain({**fields, "subject": row["_id"]}, UserView)


def _key(row: Mapping[str, Any]) -> ApiKeyView:
    fields = {name: value for name, value in row.items() if name in ApiKeyView.__struct_fields__}
    return structs.from_plain({**fields, "id": row["_id"]}, ApiKeyView)
