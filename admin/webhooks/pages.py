"""The page of webhooks: who is told, what was told, and what they answered."""

from __future__ import annotations

from collections.abc import Sequence

import flask

from admin.auth import paging, principal
from admin.catalog.pages import names_of
from admin.ports import ports
from admin.site import forms
from admin.site.language import gettext, marked
from admin.site.pages import go, here, page, shows, taken
from keruta.domain.decode import convert
from keruta.domain.webhooks import TOLD, WebhookMade, WebhookRequest
from keruta.errors import Conflict, Fault, fault
from keruta.services import webhooks as service

blueprint = flask.Blueprint("webhooks_pages", __name__)

FIELDS = tuple(field for field in forms.fields(WebhookRequest) if field.path != "events")
_STATES = {"waiting": marked("is tried again"), "delivered": marked("delivered"), "failed": marked("given up")}


@shows(blueprint, "list_webhooks", "/webhooks")
def webhooks() -> flask.Response:
    return _page()


@shows(blueprint, "create_webhook", "/webhooks", "POST")
def create() -> flask.Response:
    form = flask.request.form
    wanted, faults = convert({**forms.document(FIELDS, form), "events": form.getlist("events")}, WebhookRequest)
    if wanted is None:
        return _page(faults=faults)
    try:
        return taken(_page(made=service.create(principal(), wanted, webhooks=ports().webhooks)))
    except Conflict as error:
        return _page(faults=[fault("/name", error.message)])


@shows(blueprint, "delete_webhook", "/webhooks/<name>/delete", "POST")
def delete(name: str) -> flask.Response:
    ports().webhooks.delete(principal(), name)
    return go("/webhooks", "deleted_webhook", name)


@shows(blueprint, "send_delivery_again", "/webhook-deliveries/<id>/send", "POST")
def send_again(id: str) -> flask.Response:
    service.send_again(principal(), id, webhooks=ports().webhooks, alarm=ports().webhook_sender)
    return go(here(flask.request.form.get("next", "/webhooks")), "sent_again")


def _page(made: WebhookMade | None = None, faults: Sequence[Fault] = ()) -> flask.Response:
    chosen = flask.request.args.get("webhook") or None
    known = {kind: names_of(kind) for kind in ("queue", "repository")}
    return page(
        "webhooks/list.html", 422 if faults else 200, webhooks=ports().webhooks.all(), made=made, fields=FIELDS,
        found=ports().webhooks.deliveries(webhook=chosen, **paging()), told=forms.told(FIELDS, faults), statuses=TOLD,
        values=dict(flask.request.form) if faults else {}, known=known,
        delivery_state=lambda state: gettext(_STATES[state]),
    )  # fmt: skip
