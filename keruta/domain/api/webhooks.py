"""The routes of webhooks out."""

from __future__ import annotations

from keruta.domain.api.route import PAGED, Parameter, Route
from keruta.domain.catalog.common import Page
from keruta.domain.roles import DISPATCHER, MANAGE
from keruta.domain.webhooks import Delivery, WebhookMade, WebhookRequest, WebhookView

WEBHOOKS: tuple[Route, ...] = (
    Route(
        name="list_webhooks", method="GET", path="/api/v1/webhooks", roles=MANAGE, answer=Page[WebhookView],
        summary="Who is told when tasks end or wait for an answer",
    ),
    Route(
        name="create_webhook", method="POST", path="/api/v1/webhooks", roles=MANAGE, body=WebhookRequest,
        answer=WebhookMade, status=201, summary="Tell someone; what signs is shown this once",
        problems=(400, 409, 413, 415, 422),
    ),
    Route(
        name="delete_webhook", method="DELETE", path="/api/v1/webhooks/{name}", roles=MANAGE, status=204,
        summary="Tell them nothing more", problems=(404,),
    ),
    Route(
        name="list_deliveries", method="GET", path="/api/v1/webhook-deliveries", roles=MANAGE, answer=Page[Delivery],
        summary="What was told, newest first, and what was answered", problems=(422,),
        query=(Parameter(name="webhook", description="only what this one was told"), *PAGED),
    ),
    Route(
        name="send_delivery_again", method="POST", path="/api/v1/webhook-deliveries/{id}/send", roles=MANAGE,
        summary="Send one once more, at once", answer=Delivery, problems=(404,),
    ),
    Route(
        name="tell_webhooks", method="POST", path="/events/webhooks", roles=DISPATCHER, status=204,
        summary="A task has ended, or waits for an answer", problems=(422,),
    ),
)  # fmt: skip
