"""Reception of deliveries: check who sent one, read its event, and store it once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from keruta import metrics, structs
from keruta.domain.catalog.triggers import Provider
from keruta.domain.deliveries import too_old
from keruta.domain.forge_payloads import read_event
from keruta.domain.forges import HEADER_VALUE, WORD, ForgeEvent, headers_of, signature_holds
from keruta.domain.generic_events import (
    ForeignEvent,
    delivery_of,
    event_of_cloudevent,
    event_of_webhook,
    generic_headers,
    generic_holds,
)
from keruta.domain.messages import message
from keruta.errors import Conflict, InvalidRequest, Problem, Unauthenticated
from keruta.ports.deliveries import DeliveryStore

log = logging.getLogger(__name__)


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as it came: its trigger, its headers (by their names in lower case), and its body."""

    trigger: str
    headers: Mapping[str, str]
    body: bytes


def receive(store: DeliveryStore, received: Received, now: datetime) -> str:
    """Store a delivery that its trigger's secret has signed; return its id. A repeat is stored once.

    Raises:
        Unauthenticated: there is no such trigger, or none of its secrets signed this.
        InvalidRequest: a header is missing, the body is no JSON object, or the event is too old to know whether it
            came before.
        Conflict, Unavailable.
    """
    known = store.trigger(received.trigger)
    provider: Provider = known.provider if known is not None else "github"
    secrets = known.secrets if known is not None else ("-",)
    if provider == "generic":
        name, delivery = generic_headers(received.headers, received.body)
        held = generic_holds(secrets, received.headers, received.body, now)
    else:
        name, delivery, signature = headers_of(provider, received.headers)
        held = signature_holds(provider, secrets, signature, received.body)
    if not held or known is None:
        raise refused("signature", Unauthenticated(message("forge_signature"), reason="SignatureWrong"))
    if (provider != "generic" and not WORD.fullmatch(name)) or not HEADER_VALUE.fullmatch(delivery):
        raise refused("headers", InvalidRequest(message("forge_headers"), reason="InvalidHeader"))
    try:
        payload = structs.from_json(received.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused("malformed", InvalidRequest(message("http_not_json"), reason="MalformedJson")) from error
    if provider == "gitlab" and "idempotency-key" not in received.headers:
        # Before 17.4 its events have one name if one caused another.
        delivery = f"{delivery[:150]}-{hashlib.sha256(received.body).hexdigest()[:16]}"
    event = event_from(provider, name, delivery, payload)
    if too_old(event, now):
        raise refused("old", InvalidRequest(message("forge_old"), reason="EventTooOld"))
    try:
        identity, new = store.add(received.trigger, delivery, event, received.body)
    except Conflict as error:
        raise refused("replayed", error) from error
    metrics.DELIVERIES.labels(outcome="stored" if new else "repeated").inc()
    return identity


def event_from(provider: Provider, name: str, delivery: str, payload: Mapping[str, Any]) -> ForgeEvent:
    """Read an event of a forge or of a webhook that anything may send."""
    if provider == "generic":
        return event_of_webhook(name, delivery, payload)
    return read_event(provider, name, payload)


def receive_cloudevent(store: DeliveryStore, event: ForeignEvent, body: bytes) -> list[str]:
    """Store a CloudEvent for each trigger that allows its source; return the deliveries. Raises Unavailable."""
    found = []
    for trigger in store.triggers_of_source(event.source):
        try:
            identity, new = store.add(trigger, delivery_of(event), event_of_cloudevent(event), body)
        except Conflict:
            continue  # the same source and id are the same event, whatever else is different
        metrics.DELIVERIES.labels(outcome="stored" if new else "repeated").inc()
        found.append(identity)
    if not found:
        metrics.DELIVERIES.labels(outcome="unwanted").inc()
    return found


def refused(outcome: str, problem: Problem) -> Problem:
    """Count a refusal, and return it."""
    metrics.DELIVERIES.labels(outcome=outcome).inc()
    log.warning("delivery refused: %s", outcome, extra={"action": "delivery_refused"})
    return problem
