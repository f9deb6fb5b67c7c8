"""Tokens that keruta signs: for workers and attempts, and on one machine for people, too.

What another issuer signed is `keruta.adapters.identity`'s. A token's text is never logged nor told.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt

from keruta.adapters.identity.verifier import LEEWAY_SECONDS, TOKEN_LIMIT, refusal
from keruta.adapters.sealed_stream import derived_key
from keruta.errors import SettingsError
from keruta.ports import Sender

SESSION_ISSUER = "keruta"
SESSION_AUDIENCE = "keruta-agent"
SESSION_LIFETIME = timedelta(hours=1)
ATTEMPT_GRACE_SECONDS = 15 * 60


class Issuer:
    """The issuer of one machine: signs what Keycloak signs in a cluster.

    Args:
        pem: an Ed25519 private key.
    """

    def __init__(self, pem: bytes, *, issuer: str, audience: str) -> None:
        self._key = _load_private(pem)
        self._issuer = issuer
        self._audience = audience

    @property
    def jwks(self) -> dict[str, Any]:
        """The public key, as a JWKS document."""
        return {"keys": [_public_jwk(self._key)]}

    def issue(self, subject: str, roles: list[str], *, lifetime: timedelta, client: str = "keruta-cli") -> str:
        """Makes an access token, in the shape of Keycloak's."""
        now = datetime.now(UTC)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "azp": client,
            "typ": "Bearer",
            "iat": now,
            "exp": now + lifetime,
            "preferred_username": subject,
            "realm_access": {"roles": roles},
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": _key_id(self._key)})


class Sessions:
    """keruta's own tokens, for workers and attempts: at work they depend on no issuer.

    Args:
        pem: an Ed25519 private key.
    """

    def __init__(self, pem: bytes) -> None:
        self._key = _load_private(pem)
        self._public = self._key.public_key()

    @classmethod
    def from_file(cls, path: Path) -> Sessions:
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"KERUTA_SESSION_KEY: {path} is not a readable Ed25519 key") from error

    def for_worker(self, worker: str, session: str) -> tuple[str, datetime]:
        expires = datetime.now(UTC) + SESSION_LIFETIME
        return self._sign({"sub": f"worker:{worker}", "sid": session}, expires), expires

    def for_attempt(self, attempt: str, *, timeout_seconds: float, lease_seconds: float) -> str:
        lifetime = timedelta(seconds=timeout_seconds + lease_seconds + ATTEMPT_GRACE_SECONDS)
        return self._sign({"sub": f"attempt:{attempt}"}, datetime.now(UTC) + lifetime)

    def _sign(self, claims: dict[str, Any], expires: datetime) -> str:
        whole = {"iss": SESSION_ISSUER, "aud": SESSION_AUDIENCE, "iat": datetime.now(UTC), "exp": expires, **claims}
        return jwt.encode(whole, self._key, algorithm="EdDSA")

    def verify(self, token: str) -> Sender:
        """Says which worker or attempt a token speaks for. Raises Unauthenticated."""
        claims = _decode(token, self._public, issuer=SESSION_ISSUER, audience=SESSION_AUDIENCE, require=["exp", "sub"])
        kind, _, name = str(claims["sub"]).partition(":")
        if kind == "worker" and claims.get("sid"):
            return Sender(worker=name, session=str(claims["sid"]))
        if kind == "attempt":
            return Sender(attempt=name)
        raise refusal("session")

    def snapshot_key(self, attempt: str) -> bytes:
        """Return the key that an attempt's stored session is sealed with. The database never has it."""
        from cryptography.hazmat.primitives import serialization as form

        raw = self._key.private_bytes(form.Encoding.Raw, form.PrivateFormat.Raw, form.NoEncryption())
        return derived_key(raw, f"keruta snapshot of {attempt}")

    @staticmethod
    def seconds_left(authorization: str) -> float:
        """Return the seconds for which a verified token stays valid."""
        token = authorization.partition(" ")[2].strip()
        return float(jwt.decode(token, options={"verify_signature": False})["exp"]) - time.time()


def _decode(token: str, key: Any, *, issuer: str, audience: str, require: list[str]) -> dict[str, Any]:
    if len(token) > TOKEN_LIMIT:
        raise refusal("session")
    try:
        return jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": require},
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise refusal("session") from error


def new_key() -> bytes:
    """Makes an Ed25519 private key, as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_private(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem, None)


def _public_jwk(key: Any) -> dict[str, Any]:
    made = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": _key_id(key), "alg": "EdDSA", "use": "sig"}


def _key_id(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]
