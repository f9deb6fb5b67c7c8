"""Webhooks: made with a secret of their own, and told of events."""

from __future__ import annotations

import base64
import secrets

from keruta.domain.events import Event
from keruta.domain.principal import Principal
from keruta.domain.webhooks import SECRET_PREFIX, Delivery, WebhookMade, WebhookRequest
from keruta.ports.watching import WebhookAlarm, Webhooks

SECRET_BYTES = 32


def create(who: Principal, wanted: WebhookRequest, *, webhooks: Webhooks) -> WebhookMade:
    """Make a webhook; its secret is told this once, and a chat's webhook has none. Raises Conflict."""
    secret = ""
    if wanted.format == "keruta":
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return webhooks.create(who, wanted, secret)


def tell(event: Event, *, webhooks: Webhooks, alarm: WebhookAlarm) -> None:
    """Put on record what is to be told of an event, and have it sent."""
    if webhooks.note(event):
        alarm.wake()


def send_again(who: Principal, delivery: str, *, webhooks: Webhooks, alarm: WebhookAlarm) -> Delivery:
    """Send a delivery once more. Raises NotFound."""
    found = webhooks.again(who, delivery)
    alarm.wake()
    return found
