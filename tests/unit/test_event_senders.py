"""Service accounts of a cluster that may bring events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keruta.adapters.identity.events import DeliveryVerifier
from keruta.adapters.identity.keys import Kept
from keruta.adapters.tokens import Issuer, new_key
from keruta.errors import Unauthenticated
from keruta.settings import Settings

CLUSTER = "https://kubernetes.default.svc"
LIFETIME = timedelta(minutes=5)


class Store:
    """The cluster's keys, fetched by another replica a moment ago."""

    def __init__(self, issuer: Issuer) -> None:
        self._kept = Kept(jwks=issuer.jwks, fetched_at=datetime.now(UTC))

    def load(self, issuer: str) -> Kept:
        return self._kept

    def may_ask(self, issuer: str, why: str, cooldown_seconds: float) -> bool:
        return False

    def fetched(self, issuer: str, jwks: dict[str, Any]) -> None: ...
    def failed(self, issuer: str) -> None: ...


KEY = new_key()
VERIFIER = DeliveryVerifier(
    Settings(event_issuer=CLUSTER),
    Store(Issuer(KEY, issuer=CLUSTER, audience="keruta-events")),
)


def token(subject: str, *, key: bytes = KEY, issuer: str = CLUSTER, audience: str = "keruta-events") -> str:
    return Issuer(key, issuer=issuer, audience=audience).issue(subject, ["admin"], lifetime=LIFETIME)


def test_an_account_of_kerutas_namespace_brings_events_and_does_nothing_else() -> None:
    """Whatever roles its token claims."""
    who = VERIFIER.verify(token("system:serviceaccount:keruta:dispatch-trigger"))

    assert who.roles == {"dispatcher"}


@pytest.mark.parametrize(
    "refused",
    [
        token("system:serviceaccount:default:keruta"),
        token("system:serviceaccount:keruta-other:dispatch-trigger"),
        token("ann"),
        token("system:serviceaccount:keruta:dispatch-trigger", audience="keruta"),
        token("system:serviceaccount:keruta:dispatch-trigger", issuer="https://elsewhere.example.com"),
        token("system:serviceaccount:keruta:dispatch-trigger", key=new_key()),
    ],
    ids=["namespace", "longer-namespace", "person", "audience", "issuer", "key"],
)
def test_nobody_else_brings_events(refused: str) -> None:
    with pytest.raises(Unauthenticated):
        VERIFIER.verify(refused)
