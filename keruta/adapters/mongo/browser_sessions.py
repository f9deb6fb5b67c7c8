"""The sessions of people's browsers: kept here, each known to its browser by a cookie that holds a random secret.

The tokens of a sign-in are sealed by that secret, of which only a hash is kept: who reads the database opens none.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from datetime import UTC, datetime

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.sign_in import BrowserSession, Tokens, derived
from keruta.ports import Document

RENEWING_SECONDS = 15  # longer than a renewal takes: two requests of five seconds at most
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class BrowserSessions:
    """The collection `sessions`."""

    def __init__(self, database: Database) -> None:
        self._sessions = database["sessions"]

    def begin(self, tokens: Tokens, *, subject: str, provider_session: str = "") -> BrowserSession:
        """A session with a secret that nobody has seen before.

        Args:
            provider_session: what the identity provider calls the sign-in (`sid`); it may end it.
        """
        made = BrowserSession(secret=secrets.token_urlsafe(32), tokens=tokens)
        row: Document = {
            "_id": _identity(made.secret), "subject": subject, "sid": provider_session, **_sealed(made.secret, tokens),
        }  # fmt: skip
        with translated():
            self._sessions.insert_one(row)
        return made

    def find(self, secret: str) -> BrowserSession | None:
        """None for one that never was, or is over."""
        if not _SECRET.fullmatch(secret):
            return None
        with translated():
            row = self._sessions.find_one({"_id": _identity(secret), "until": {"$gt": datetime.now(UTC)}}, ["sealed"])
        if row is None:
            return None
        try:
            opened = Fernet(_fernet_key(secret)).decrypt(row["sealed"])
            return BrowserSession(secret=secret, tokens=structs.from_json(opened, type=Tokens))
        except (InvalidToken, msgspec.DecodeError):
            return None

    def take_turn(self, secret: str) -> bool:
        """Return whether this process is to renew the session's tokens: no other does so now.

        A refresh token works once.
        """
        late = {"$lt": [{"$ifNull": ["$renewing_until", datetime.fromtimestamp(0, UTC)]}, "$$NOW"]}
        until = {"$add": ["$$NOW", RENEWING_SECONDS * 1000]}
        with translated():
            taken = self._sessions.update_one(
                {"_id": _identity(secret), "$expr": late}, [{"$set": {"renewing_until": until}}]
            )
        return taken.modified_count == 1

    def renewed(self, secret: str, tokens: Tokens) -> None:
        with translated():
            self._sessions.update_one(
                {"_id": _identity(secret)}, {"$set": _sealed(secret, tokens), "$unset": {"renewing_until": ""}}
            )

    def end(self, secret: str) -> None:
        with translated():
            self._sessions.delete_one({"_id": _identity(secret)})

    def end_all(self, *, subject: str, provider_session: str) -> int:
        """End the sessions of one sign-in or, where that is not named, of a person; return how many there were."""
        match = {"sid": provider_session} if provider_session else {"subject": subject}
        with translated():
            return self._sessions.delete_many(match).deleted_count


def _sealed(secret: str, tokens: Tokens) -> Document:
    sealed = Fernet(_fernet_key(secret)).encrypt(msgspec.json.encode(tokens))
    return {"sealed": sealed, "until": datetime.fromtimestamp(tokens.ends_at, UTC)}


def _identity(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _fernet_key(secret: str) -> bytes:
    return base64.urlsafe_b64encode(derived(secret, "tokens"))
