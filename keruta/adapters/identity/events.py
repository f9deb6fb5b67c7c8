"""Authentication of events: each delivery has a token, verified like any other with the keys of its issuer.

Knative signs each delivery as the Trigger's or source's own service account, for the audience that the receiver is
named with: so nobody else in the cluster can feed events, and there is no secret to be kept.
Source: https://knative.dev/docs/eventing/features/sender-identity/
"""

from __future__ import annotations

from msgspec.structs import replace

from keruta.adapters.identity.keys import FileKeys, KeyStore, KubernetesKeys
from keruta.adapters.identity.verifier import Verifier, refusal
from keruta.domain.principal import Principal
from keruta.settings import Settings


class DeliveryVerifier:
    """Takes tokens of the cluster's own accounts, from those that may bring events."""

    def __init__(self, settings: Settings, store: KeyStore) -> None:
        issuer, audience = settings.event_issuer, settings.event_audience
        own = replace(settings, issuer=issuer, audience=audience, clients=frozenset(), roles_claim="")
        self._senders = settings.event_senders
        self._verifier = Verifier(own, KubernetesKeys(issuer, store), any_type=True)

    def verify(self, token: str) -> Principal:
        """Raises Unauthenticated."""
        principal = self._verifier.verify(token)
        if not principal.subject.startswith(self._senders):
            raise refusal("sender")
        return replace(principal, roles=frozenset({"dispatcher"}))


def delivery_verifier(settings: Settings, people: Verifier, store: KeyStore) -> Verifier | DeliveryVerifier:
    """Verify by the issuer of events where one is set, else by the people's."""
    if settings.event_keys is not None:
        own = replace(settings, issuer=settings.event_issuer)
        return Verifier(own, FileKeys(settings.event_keys))
    return DeliveryVerifier(settings, store) if settings.event_issuer else people
