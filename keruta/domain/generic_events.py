"""Events that are no forge's: of a webhook that anything may send, and CloudEvents of any source. Pure.

Sources: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md,
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from keruta.domain.forges import HEADER_VALUE, ForgeEvent
from keruta.domain.naming import TASK_ID
from keruta.domain.webhooks import SECRET_PREFIX, signature_by_key

TOLERANCE_SECONDS = 300  # of the time that a sender of Standard Webhooks signs
PAYLOAD_LETTERS = 32_768  # of an event, for a script's environment
TYPE_LETTERS = 200
DELIVERY_HEADERS = ("webhook-id", "idempotency-key", "x-delivery", "x-request-id")
TYPE_HEADERS = ("x-event", "x-event-type")
OWN_SOURCE = "/keruta"


class ForeignEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent as it came; `data` is its JSON, or empty."""

    id: str
    type: str
    source: str
    subject: str | None = None
    time: datetime | None = None
    data: bytes = b""


def generic_holds(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Say whether one of the secrets stands behind a webhook, comparing in constant time.

    What the sender uses counts: Standard Webhooks, an HMAC with SHA-256 of the body, or the secret as a bearer token.
    """
    held = False
    for secret in secrets:
        if "webhook-signature" in headers:
            held |= _standard_holds(secret, headers, body, now)
        elif (given := headers.get("x-signature-256") or headers.get("x-hub-signature-256")) is not None:
            wanted = "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
            held |= _same(wanted, given if given.startswith("sha256=") else f"sha256={given}")
        else:
            kind, _, token = headers.get("authorization", "").partition(" ")
            held |= kind.lower() == "bearer" and _same(secret, token.strip())
    return held


def _standard_holds(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    said = headers.get("webhook-timestamp", "")
    if not said.isascii() or not said.isdigit() or len(said) > 12:
        return False
    if abs(now.timestamp() - int(said)) > TOLERANCE_SECONDS:
        return False
    try:
        own = secret.removeprefix(SECRET_PREFIX)
        key = base64.b64decode(own, validate=True) if own != secret else secret.encode()
    except (binascii.Error, ValueError):
        return False
    wanted, held = signature_by_key(key, headers.get("webhook-id", ""), said, body), False
    for given in headers["webhook-signature"].split(" ")[:20]:
        held |= _same(wanted, given)
    return held


def _same(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


def generic_headers(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Return the type that a webhook's headers name, empty for none, and the delivery's id: its body's, if none is."""
    kind = next((found for name in TYPE_HEADERS if (found := headers.get(name))), "")
    given = next((found for name in DELIVERY_HEADERS if (found := headers.get(name))), "")
    known = HEADER_VALUE.fullmatch(given) is not None
    return _plain(kind), given if known else hashlib.sha256(body).hexdigest()


def event_of_webhook(kind: str, delivery: str, payload: Mapping[str, Any]) -> ForgeEvent:
    """Make the event of a webhook. Its type is the header's, else the field `type` or `event` of its body."""
    named = (payload.get(field) for field in ("type", "event"))
    kind = kind or next((_plain(found) for found in named if isinstance(found, str) and _plain(found)), "event")
    return ForgeEvent(
        kind="event", name=kind, action=kind, identity=f"event {delivery}",
        payload=_payload(msgspec.json.encode(payload)),
    )  # fmt: skip


def event_of_cloudevent(event: ForeignEvent) -> ForgeEvent:
    """Make a trigger's event of a CloudEvent: source and id together are its identity. keruta's own are marked."""
    own = event.source == OWN_SOURCE
    task = event.subject if own and event.subject is not None and TASK_ID.fullmatch(event.subject) else None
    return ForgeEvent(
        kind="event", name=_plain(event.type), action=_plain(event.type), source=_plain(event.source), own=own,
        task=task, title=_plain(event.subject or "") or None, identity=f"event {delivery_of(event)}",
        payload=_payload(event.data), at=event.time,
    )  # fmt: skip


def delivery_of(event: ForeignEvent) -> str:
    return hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()


def _payload(data: bytes) -> str | None:
    text = data.decode("utf-8", "replace")
    return text if text and len(text) <= PAYLOAD_LETTERS and "\0" not in text else None


def _plain(text: str) -> str:
    return "".join(one for one in text[:TYPE_LETTERS] if one.isprintable())
