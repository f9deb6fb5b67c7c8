"""Tokens: the issuer's, for people and service accounts, and keruta's own, for workers and attempts.

Verified here and nowhere else, against known keys, with fixed algorithms. A token's text is never logged nor told.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt

from keruta.errors import SettingsError, Unauthenticated
from keruta.ports import Sender

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REQUIRED = ["iss", "aud", "exp", "iat", "sub", "azp", "typ"]
LEEWAY_SECONDS = 10  # clocks of two machines that keep time differ by less
TOKEN_LIMIT = 16 * 1024
SESSION_ISSUER = "keruta"
SESSION_AUDIENCE = "keruta-agent"
SESSION_LIFETIME = timedelta(hours=1)
ATTEMPT_GRACE_SECONDS = 15 * 60
_REMEMBERED = 2048


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who asks."""

    subject: str
    name: str
    roles: frozenset[str] = field(default_factory=frozenset)

    @property
    def readers(self) -> list[str]:
        """Under which names documents may be visible to this one."""
        return ["everyone", f"user:{self.subject}"]


class Verifier:
    """Verifies access tokens against a JWKS.

    Args:
        keys: a JWKS document's public keys by `kid`.
        issuer: the `iss` that is asked for.
        audience: the `aud` that is asked for.
    """

    def __init__(self, keys: dict[str, Any], *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: Path, *, issuer: str, audience: str) -> Verifier:
        """Reads a JWKS file. Raises SettingsError when it is not there or is none."""
        try:
            keys = jwt.PyJWKSet.from_dict(json.loads(path.read_text())).keys
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise SettingsError(f"KERUTA_TRUSTED_KEYS: {path} is not a readable JWKS file") from error
        return cls({str(key.key_id): key for key in keys}, issuer=issuer, audience=audience)

    def verify(self, token: str) -> Principal:
        """Says who a token speaks for. Raises Unauthenticated, which tells nothing that was in it."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known[1] > time.time():
            return known[0]
        claims = _decode(token, self._key_of(token), issuer=self._issuer, audience=self._audience, require=REQUIRED)
        if claims["typ"] != "Bearer":
            raise _refusal()
        roles = (claims.get("realm_access") or {}).get("roles") or []
        name = str(claims.get("preferred_username") or claims["sub"])
        principal = Principal(subject=str(claims["sub"]), name=name, roles=frozenset(map(str, roles)))
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = principal, claims["exp"] + LEEWAY_SECONDS
        return principal

    def _key_of(self, token: str) -> Any:
        try:
            header = jwt.get_unverified_header(token) if len(token) <= TOKEN_LIMIT else {}
        except (jwt.PyJWTError, ValueError) as error:
            raise _refusal() from error
        key = self._keys.get(str(header.get("kid")))
        if key is None or header.get("alg") != key.algorithm_name:
            raise _refusal()
        return key.key


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
        raise _refusal()

    @staticmethod
    def seconds_left(authorization: str) -> float:
        """How long a token that was verified already is still good for."""
        token = authorization.partition(" ")[2].strip()
        return float(jwt.decode(token, options={"verify_signature": False})["exp"]) - time.time()


def _decode(token: str, key: Any, *, issuer: str, audience: str, require: list[str]) -> dict[str, Any]:
    if len(token) > TOKEN_LIMIT:
        raise _refusal()
    try:
        return jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": require},
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refusal() from error


def _refusal() -> Unauthenticated:
    return Unauthenticated("The token is missing, malformed, expired or not for keruta; sign in again.")


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
