"""The issuer's public keys: asked for rarely, kept for all replicas, and good while the issuer is away.

An unknown key's name makes one request to the issuer, not more than one in `COOLDOWN_SECONDS` of all replicas together:
so a rotation passes unnoticed, and a stranger's made-up names don't make keruta a hammer. What is asked as a matter of
course counts apart, or it would stand in a new key's way.
Source: https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import jwt
import msgspec

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.errors import SettingsError, Unavailable

log = logging.getLogger(__name__)

COOLDOWN_SECONDS = 5.0
FRESH_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 10.0
REQUEST_SECONDS = 2.0
POD_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
Keys = Mapping[str, Any]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The stored state of an issuer's keys.

    Args:
        jwks: its last good document.
        fetched_at: when that was fetched.
        away_since: since when it could not be reached; None while it can.
    """

    jwks: dict[str, Any] | None = None
    fetched_at: datetime | None = None
    away_since: datetime | None = None


class KeyStore(Protocol):
    """Storage of issuers' keys for all replicas."""

    def load(self, issuer: str) -> Kept: ...

    def may_ask(self, issuer: str, why: str, cooldown_seconds: float) -> bool:
        """Return whether this process is to ask the issuer now: no other has just done so for that reason.

        True counts as a request.
        """
        ...

    def fetched(self, issuer: str, jwks: dict[str, Any]) -> None: ...
    def failed(self, issuer: str) -> None: ...


class KeySource(Protocol):
    """Gives keys by their names."""

    def key(self, name: str) -> Any | None:
        """A `jwt.PyJWK`, or None when the issuer has none of that name."""
        ...

    def away_since(self) -> datetime | None:
        """Since when the issuer can't be reached; None when it can. May ask it, now and then."""
        ...

    @property
    def known_away_since(self) -> datetime | None:
        """The same, as far as was noticed."""
        ...


class FileKeys:
    """Keys from a JWKS file: one machine's issuer, which is never away."""

    def __init__(self, path: Path) -> None:
        try:
            self._keys = read_keys(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise SettingsError(f"KERUTA_TRUSTED_KEYS: {path} is not a readable JWKS file") from error

    def key(self, name: str) -> Any | None:
        return self._keys.get(name)

    def away_since(self) -> datetime | None:
        return None

    known_away_since: datetime | None = None


class IssuerKeys:
    """Keys from an issuer by its discovery document.

    Args:
        issuer: its name, the `iss` of its tokens.
        url: where it is reached; often the same.
        clock: seconds that only go forward.
    """

    def __init__(self, issuer: str, url: str, store: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._url = url.rstrip("/")
        self._store = store
        self._clock = clock
        self._http = Http(REQUEST_SECONDS)
        self._keys: Keys = {}
        self._fresh_until = 0.0
        self._looked_until = 0.0
        self._away_since: datetime | None = None
        self._lock = threading.Lock()

    def key(self, name: str) -> Any | None:
        if name not in self._keys or self._clock() > self._fresh_until:
            self._refresh(name)
        return self._keys.get(name)

    def away_since(self) -> datetime | None:
        """Asked again after a while, by one request; the others go by what is known meanwhile."""
        if self._clock() > self._looked_until and self._lock.acquire(blocking=False):
            try:
                self._look("routine", LOOK_AGAIN_SECONDS)
            finally:
                self._lock.release()
        return self._away_since

    @property
    def known_away_since(self) -> datetime | None:
        return self._away_since

    def _refresh(self, name: str) -> None:
        """Fetch a missing key now, if the issuer has it; refresh keys that are only old in the background."""
        if name in self._keys:
            self._fresh_until = self._clock() + LOOK_AGAIN_SECONDS
            threading.Thread(target=self._refresh_behind, name="jwks", daemon=True).start()
            return
        with self._lock:  # those who want the same new key wait for the one who asks
            if name not in self._keys:
                self._take(self._kept())
            if name not in self._keys:
                self._look("unknown", COOLDOWN_SECONDS)

    def _refresh_behind(self) -> None:
        with self._lock:
            try:
                self._look("routine", COOLDOWN_SECONDS)
            except Unavailable:
                pass  # the next request tries again

    def _look(self, why: str, cooldown_seconds: float) -> None:
        """Asks the issuer, or takes over what another replica has just learnt of it."""
        self._looked_until = self._clock() + LOOK_AGAIN_SECONDS
        try:
            mine = self._store.may_ask(self._issuer, why, cooldown_seconds)
        except Unavailable:
            mine = True  # without a database each asks for itself
        if not mine:
            self._take(self._kept())
            return
        try:
            jwks = self._fetch()
        except (NoAnswerError, ValueError, KeyError, TypeError) as error:
            self._away_since = self._away_since or datetime.now(UTC)
            said = f"{type(error).__name__}: {str(error)[:200]}"
            log.warning("issuer away: %s", said, extra={"action": "issuer_away"})
            self._tell(lambda: self._store.failed(self._issuer))
            self._take(self._kept())
            return
        if self._away_since is not None:
            log.info("issuer is back", extra={"action": "issuer_back"})
        self._away_since = None
        self._keys = read_keys(jwks)
        self._fresh_until = self._clock() + FRESH_SECONDS
        self._tell(lambda: self._store.fetched(self._issuer, jwks))

    def _take(self, kept: Kept) -> None:
        self._away_since = kept.away_since
        if kept.jwks is not None:
            self._keys = read_keys(kept.jwks)
            age = (datetime.now(UTC) - kept.fetched_at).total_seconds() if kept.fetched_at else FRESH_SECONDS
            self._fresh_until = self._clock() + max(FRESH_SECONDS - age, LOOK_AGAIN_SECONDS)

    def _kept(self) -> Kept:
        try:
            return self._store.load(self._issuer)
        except Unavailable:
            return Kept(away_since=self._away_since)

    @staticmethod
    def _tell(write: Callable[[], None]) -> None:
        try:
            write()
        except Unavailable:
            pass  # the keys are here; the next one who asks writes them down

    def _fetch(self) -> dict[str, Any]:
        document = self._get(f"{self._url}/.well-known/openid-configuration")
        if document["issuer"] != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        # The address in it is for the world; keruta may reach the issuer by another one.
        where = str(document["jwks_uri"]).replace(self._issuer, self._url, 1)
        jwks = self._get(where)
        if not read_keys(jwks):
            raise ValueError("no usable key")
        return jwks

    def _headers(self) -> dict[str, str]:
        return {}

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._http.ask("GET", url, headers=self._headers())
        if answer.status != 200:
            raise ValueError(f"answered {answer.status}")
        return answer.document()


class KubernetesKeys(IssuerKeys):
    """The keys that a cluster signs service accounts' tokens with, from its API server, asked as this Pod's account.

    Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
    """

    def __init__(self, issuer: str, store: KeyStore) -> None:
        super().__init__(issuer, "https://kubernetes.default.svc", store)
        self._http = Http(REQUEST_SECONDS, ca_certs=str(POD_ACCOUNT / "ca.crt"))

    def _fetch(self) -> dict[str, Any]:
        jwks = self._get(f"{self._url}/openid/v1/jwks")
        if not read_keys(jwks):
            raise ValueError("no usable key")
        return jwks

    def _headers(self) -> dict[str, str]:
        try:
            return {"Authorization": f"Bearer {(POD_ACCOUNT / 'token').read_text()}"}
        except OSError as error:
            raise ValueError(f"this Pod has no account: {error.strerror}") from error


def read_keys(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The signing keys of a JWKS by their names; those that can't be used are left out. Raises ValueError."""
    entries = jwks.get("keys")
    if not isinstance(entries, list):
        raise ValueError("no JWKS")  # noqa: TRY004  it came from outside: its content is wrong, not a caller's type
    found = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not entry.get("kid"):
            continue
        try:
            found[str(entry["kid"])] = jwt.PyJWK.from_dict(entry)
        except jwt.PyJWTError:
            continue
    return found
