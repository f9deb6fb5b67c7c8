"""Verifies access tokens: fixed algorithms, every claim that matters asked for, and no word of what was in them."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import jwt
import msgspec

from keruta import metrics
from keruta.adapters.identity.keys import FileKeys, IssuerKeys, KeySource, KeyStore
from keruta.domain.messages import message
from keruta.domain.principal import SERVICE, Principal, at_path, reading_only, without_slash
from keruta.errors import Forbidden, Unauthenticated
from keruta.settings import Settings

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REQUIRED = ["iss", "aud", "exp", "iat", "sub"]
LEEWAY_SECONDS = 10  # clocks of two machines that keep time differ by less
TOKEN_LIMIT = 16 * 1024
LOGOUT_TOKEN_SECONDS = 120
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
KEY_PREFIX = "keruta_"
_KEY_NAME = re.compile(r"[A-Za-z0-9._=-]{1,200}")
_REMEMBERED = 2048


class People(Protocol):
    """keruta's own record of people and API keys."""

    def seen(self, principal: Principal) -> bool:
        """Note a person's visit. Return whether they are enabled."""
        ...

    def by_key(self, key: str) -> Principal | None:
        """Return the owner of an API key; None for one that is unknown, expired or revoked.

        Raises:
            Unauthenticated: its owner has not come for too long.
        """
        ...


class Rates(Protocol):
    """Port to the rate limits of callers."""

    def take(self, caller: str) -> None:
        """One more request. Raises TooManyRequests."""
        ...


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was verified.

    Args:
        key: the name of the key that signed it.
        ends_at: when it runs out, with the leeway.
    """

    principal: Principal
    key: str
    ends_at: float


class Verifier:
    """Says who a token speaks for.

    Args:
        any_type: whether tokens need not say that they are access tokens; a cluster's service accounts' do not.
        now: the time, in seconds since 1970.
    """

    def __init__(
        self, settings: Settings, keys: KeySource, people: People | None = None, *,
        rates: Rates | None = None, any_type: bool = False, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._any_type = any_type
        self._settings = settings
        self._keys = keys
        self._people = people
        self._rates = rates
        self._now = now
        self._known: dict[bytes, Known] = {}
        self._lock = threading.Lock()

    def verify(self, token: str) -> Principal:
        """Says who a token speaks for.

        Raises:
            Unauthenticated: which tells nothing that was in it.
            Forbidden: they were disabled.
            TooManyRequests.
        """
        principal = self._checked(token)
        if self._rates is not None and principal.is_person:
            self._rates.take(principal.key or principal.subject)
        return principal

    def check_again(self, token: str) -> Principal:
        """Says who a token speaks for now, where an answer goes on for long; not counted as a request.

        Raises:
            Unauthenticated: it has run out, or was revoked, since.
            Forbidden: they were disabled.
        """
        return self._checked(token)

    def _checked(self, token: str) -> Principal:
        if self._people is not None and token.startswith(KEY_PREFIX):
            principal = self._people.by_key(token)
            if principal is None:
                raise refusal("key")
        else:
            known = self._verified(token)
            principal = known.principal
            if self._now() >= known.ends_at:
                principal = self._late(known)
        if self._people is not None and not self._people.seen(principal):
            raise Forbidden(message("identity_disabled"), reason="AccountDisabled")
        return principal

    @property
    def issuer_away_since(self) -> datetime | None:
        """Since when the issuer can't be reached, as far as was noticed; asks nobody."""
        return self._keys.known_away_since

    def _verified(self, token: str) -> Known:
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known is not None and self._keys.key(known.key) is None:
            raise refusal("unknown_key")  # the issuer has taken the key back since
        if known is None:
            known = self._verify(token)
            with self._lock:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[digest] = known
        return known

    def signed_in(self, id_token: str, *, client: str, nonce: str) -> tuple[str, str]:
        """Verify an ID token. Return the subject, and the issuer's session id ("" if it names none).

        Source: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
        Raises:
            Unauthenticated: it is not for this client, or not for this sign-in.
        """
        _, claims = self._claims(id_token, audience=client, required=[*REQUIRED, "nonce"])
        if float(claims["exp"]) + LEEWAY_SECONDS < self._now():
            raise refusal("expired")
        if claims["nonce"] != nonce or claims.get("azp", client) != client or claims.get("typ", "ID") != "ID":
            raise refusal("nonce")
        return str(claims["sub"]), str(claims.get("sid", ""))

    def signed_out(self, logout_token: str, *, client: str) -> tuple[str, str]:
        """Verify a logout token. Return the subject and the issuer's session id, of which one may be "".

        Source: https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation
        Raises:
            Unauthenticated: it is no such word of the issuer's.
        """
        _, claims = self._claims(logout_token, audience=client, required=["iss", "aud", "iat", "events"])
        subject, session = str(claims.get("sub", "")), str(claims.get("sid", ""))
        late = abs(self._now() - float(claims["iat"])) > LOGOUT_TOKEN_SECONDS
        if late or "nonce" in claims or not (subject or session) or LOGOUT_EVENT not in dict(claims["events"]):
            raise refusal("logout")
        return subject, session

    def _verify(self, token: str) -> Known:
        settings = self._settings
        header, claims = self._claims(token, audience=settings.audience, required=REQUIRED)
        client = str(claims.get("azp") or claims.get("client_id") or "")
        if settings.clients and client not in settings.clients:
            raise refusal("client")
        # An ID token says who signed in, and opens nothing: access tokens say that they are some.
        # Source: https://www.rfc-editor.org/rfc/rfc9068#section-2.1
        said = str(header.get("typ", "")).lower()
        if not self._any_type and claims.get("typ") != "Bearer" and said not in ("at+jwt", "application/at+jwt"):
            raise refusal("typ")
        ends_at = float(claims["exp"]) + LEEWAY_SECONDS
        return Known(principal=self._principal(claims, client), key=str(header["kid"]), ends_at=ends_at)

    def _claims(self, token: str, *, audience: str, required: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A token's header and what it claims, when the issuer has signed it for this audience; it may have run out."""
        header, key = self._header(token)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                issuer=self._settings.issuer,
                audience=audience,
                leeway=LEEWAY_SECONDS,
                options={"require": required, "verify_exp": False},
            )
            for name in ("exp", "iat"):
                float(claims.get(name, 0))
            dict(claims.get("events", {}))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise refusal(type(error).__name__) from error
        return header, claims

    def _header(self, token: str) -> tuple[dict[str, Any], Any]:
        """The header, and the issuer's own key of that name: where else a header points to is not looked at."""
        if len(token) > TOKEN_LIMIT:
            raise refusal("size")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise refusal("malformed") from error
        name = header.get("kid")
        if not isinstance(name, str) or not _KEY_NAME.fullmatch(name) or "crit" in header:
            raise refusal("kid")
        if header.get("alg") not in ALGORITHMS:  # nobody is asked for such a key: a refresh token's is none to be had
            raise refusal("algorithm")
        key = self._keys.key(name)
        if key is None:
            raise refusal("unknown_key")
        if key.algorithm_name not in ALGORITHMS or header.get("alg") != key.algorithm_name:
            raise refusal("algorithm")
        return header, key

    def _principal(self, claims: dict[str, Any], client: str) -> Principal:
        settings = self._settings
        if str(claims["sub"]).startswith(SERVICE):
            raise refusal("sub")
        verified = claims.get("email_verified")
        return Principal(
            subject=str(claims["sub"]),
            name=str(claims.get("preferred_username") or claims.get("name") or claims["sub"])[:200],
            mail=str(claims.get("email") or "")[:320],
            mail_verified=verified is True or verified == "true",  # some providers send a text
            roles=at_path(claims, settings.roles_claim),
            groups=without_slash(at_path(claims, settings.groups_claim)),
            client=client,
        )

    def _late(self, known: Known) -> Principal:
        """A token that ran out: good for reading for a while longer, if its issuer is away."""
        principal = known.principal
        late = self._now() - known.ends_at
        if late > self._settings.offline_grace_seconds or not principal.is_person or self._keys.away_since() is None:
            raise refusal("expired")
        return Principal(
            subject=principal.subject, name=principal.name, mail=principal.mail,
            mail_verified=principal.mail_verified, groups=principal.groups,
            roles=reading_only(principal.roles), client=principal.client, offline=True,
        )  # fmt: skip


def refusal(why: str) -> Unauthenticated:
    """The cause is counted in metrics and not told to the caller."""
    metrics.TOKENS_REFUSED.labels(why=why).inc()
    return Unauthenticated(message("identity_token_invalid"))


def key_source(settings: Settings, store: KeyStore) -> KeySource:
    """Read keys from the file of trusted keys where one is set, else from the issuer."""
    if settings.trusted_keys is not None:
        return FileKeys(settings.trusted_keys)
    return IssuerKeys(settings.issuer, settings.issuer_url or settings.issuer, store)
