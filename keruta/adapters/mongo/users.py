"""Users as their tokens describe them, whether they are disabled, and owners of API keys.

What is known of each is remembered for a moment. Whoever disables someone, or revokes a key, is answered only when that
moment is over for every process: from then on it counts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from keruta.adapters.identity.keys import Kept
from keruta.adapters.identity.verifier import KEY_PREFIX, Verifier, key_source
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.rate_limits import MongoRates
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import Unauthenticated
from keruta.ports import Document
from keruta.settings import Settings

SETTLE_SECONDS = 0.25
WRITE_EVERY_SECONDS = 60.0
REMEMBERED = 4096
_KEY = re.compile(rf"{KEY_PREFIX}([0-9a-z]{{26}})_([A-Za-z0-9_-]{{43}})")


class MongoPeople:
    """`keruta.adapters.identity.verifier.People` on MongoDB.

    Args:
        clock: seconds that only go forward.
        key_owner_days: for how long after its owner last came in person an API key works; 0: as long as it lasts.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.monotonic, *, key_owner_days: float = 0
    ) -> None:
        self._key_owner_days = key_owner_days
        self._users = database["users"]
        self._keys = database["api_keys"]
        self._clock = clock
        self._allowed: dict[str, tuple[bool, float]] = {}
        self._by_key: dict[bytes, tuple[Principal | None, float]] = {}
        self._written_at: dict[str, float] = {}

    def seen(self, principal: Principal) -> bool:
        if not principal.is_person:
            return True
        now = self._clock()
        allowed, until = self._allowed.get(principal.subject, (False, 0.0))
        if until > now:
            return allowed
        with translated():
            row = self._look(principal, now)
        allowed = not (row or {}).get("disabled", False)
        if len(self._allowed) >= REMEMBERED:
            self._allowed.clear()
            self._written_at.clear()
        self._allowed[principal.subject] = allowed, now + SETTLE_SECONDS
        return allowed

    def _look(self, principal: Principal, now: float) -> Document | None:
        """Return the user's record; once a minute, update it from a token that is valid."""
        written = self._written_at.get(principal.subject, -WRITE_EVERY_SECONDS)
        if principal.offline or principal.key is not None or now - written < WRITE_EVERY_SECONDS:
            return self._users.find_one({"_id": principal.subject}, ["disabled"])
        self._written_at[principal.subject] = now
        said = {
            "name": principal.name,
            "mail": principal.mail,
            "mail_verified": principal.mail_verified,
            "roles": sorted(principal.roles),
            "groups": sorted(principal.groups),
        }
        literally: Document = {name: {"$literal": value} for name, value in said.items()}
        times = {"last_seen_at": "$$NOW", "first_seen_at": {"$ifNull": ["$first_seen_at", "$$NOW"]}}
        return self._users.find_one_and_update(
            {"_id": principal.subject}, [{"$set": {**literally, **times}}], upsert=True, projection=["disabled"]
        )

    def by_key(self, key: str) -> Principal | None:
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        digest, now = hash_of(match[2]), self._clock()
        principal, until = self._by_key.get(digest, (None, 0.0))
        if until > now:
            return principal
        with translated():
            principal = self._owner_of(match[1], digest)
        if len(self._by_key) >= REMEMBERED:
            self._by_key.clear()
        self._by_key[digest] = principal, now + SETTLE_SECONDS
        return principal

    def _owner_of(self, identity: str, digest: bytes) -> Principal | None:
        row = self._keys.find_one({"_id": identity, "revoked_at": None, "expires_at": {"$gt": datetime.now(UTC)}})
        if row is None or not hmac.compare_digest(row["hash"], digest):
            return None
        owner = self._users.find_one({"_id": row["owner"]})
        if owner is None:
            return None
        self._check_owner_came(owner)
        used_at = row.get("last_used_at")
        if used_at is None or datetime.now(UTC) - used_at > timedelta(seconds=WRITE_EVERY_SECONDS):
            self._keys.update_one({"_id": identity}, [{"$set": {"last_used_at": "$$NOW"}}])
        return Principal(
            subject=owner["_id"],
            name=owner["name"],
            mail=owner["mail"],
            roles=frozenset(row["roles"]) & frozenset(owner["roles"]),
            groups=frozenset(owner["groups"]),
            key=identity,
        )

    def person(self, subject: str) -> Principal | None:
        """Return a person as they were last seen; None for one who is unknown or shut out. Raises Unauthenticated."""
        with translated():
            row = self._users.find_one({"_id": subject})
        if row is None or row.get("disabled", False):
            return None
        self._check_owner_came(row)
        return Principal(
            subject=row["_id"], name=row["name"], mail=row["mail"],
            mail_verified=row.get("mail_verified", False), roles=frozenset(row["roles"]),
            groups=frozenset(row["groups"]),
        )  # fmt: skip

    def _check_owner_came(self, owner: Document) -> None:
        """Check that the owner's roles are known recently enough. Raises Unauthenticated."""
        days = self._key_owner_days
        if days and datetime.now(UTC) - owner["last_seen_at"] > timedelta(days=days):
            raise Unauthenticated(message("identity_key_owner_not_seen", days=f"{days:g}"), reason="KeyOwnerNotSeen")


def hash_of(secret: str) -> bytes:
    """Return the stored hash of a key. A key is random and long, so it needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


class MongoKeyStore:
    """`keruta.adapters.identity.keys.KeyStore` on MongoDB: the collection `jwks`."""

    def __init__(self, database: Database) -> None:
        self._jwks = database["jwks"]

    def load(self, issuer: str) -> Kept:
        with translated():
            row: dict[str, Any] = self._jwks.find_one({"_id": issuer}) or {}
        return Kept(
            jwks=row.get("jwks"),
            fetched_at=row.get("fetched_at"),
            away_since=row.get("away_since"),
        )

    def may_ask(self, issuer: str, why: str, cooldown_seconds: float) -> bool:
        asked_at = f"asked_at.{why}"
        late = {"$lte": [f"${asked_at}", {"$subtract": ["$$NOW", int(cooldown_seconds * 1000)]}]}
        with translated():
            self._jwks.update_one({"_id": issuer}, {"$setOnInsert": {"asked_at": {}}}, upsert=True)
            asked = self._jwks.update_one(
                {"_id": issuer, "$or": [{asked_at: None}, {"$expr": late}]}, [{"$set": {asked_at: "$$NOW"}}]
            )
        return asked.modified_count == 1

    def fetched(self, issuer: str, jwks: dict[str, Any]) -> None:
        with translated():
            said = {"jwks": {"$literal": jwks}, "fetched_at": "$$NOW", "away_since": None}
            self._jwks.update_one({"_id": issuer}, [{"$set": said}], upsert=True)

    def failed(self, issuer: str) -> None:
        with translated():
            away = {"away_since": {"$ifNull": ["$away_since", "$$NOW"]}}
            self._jwks.update_one({"_id": issuer}, [{"$set": away}], upsert=True)


def editors(database: Database, settings: Settings) -> Callable[[str], Principal | None]:
    """Make what finds a person by their subject."""
    days = settings.api_key_owner_days if settings.trusted_keys is None else 0
    return MongoPeople(database, key_owner_days=days).person


def make_verifier(database: Database, settings: Settings) -> Verifier:
    """The verifier of every part: the issuer's keys, and what keruta itself knows of people."""
    keys = key_source(settings, MongoKeyStore(database))
    rates = MongoRates(database, settings.requests_per_minute)
    # Where keruta itself issues the tokens, nobody loses a role anywhere else.
    days = settings.api_key_owner_days if settings.trusted_keys is None else 0
    people = MongoPeople(database, key_owner_days=days)
    return Verifier(settings, keys, people, rates=rates)
