"""Webhooks and their deliveries; and the event that there is something to tell."""

from __future__ import annotations

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta.domain.catalog.common import Page
from keruta.domain.webhooks import WebhookRequest
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services import webhooks as service
from keruta.services.notice_mails import note as note_mails

blueprint = flask.Blueprint("webhooks", __name__)

BODY_LIMIT_BYTES = 16 * 1024
EVENT_LIMIT_BYTES = 64 * 1024


@serves(blueprint, "list_webhooks")
def list_webhooks() -> flask.Response:
    return json_answer(Page(items=ports().webhooks.all()))


@serves(blueprint, "create_webhook")
def create_webhook() -> flask.Response:
    wanted = read_body(flask.request, WebhookRequest, BODY_LIMIT_BYTES)
    made = service.create(principal(), wanted, webhooks=ports().webhooks)
    return json_answer(made, 201, {"Cache-Control": "no-store"})


@serves(blueprint, "delete_webhook")
def delete_webhook(name: str) -> flask.Response:
    ports().webhooks.delete(principal(), name)
    return flask.Response(status=204)


@serves(blueprint, "list_deliveries")
def list_deliveries() -> flask.Response:
    webhook = flask.request.args.get("webhook") or None
    return json_answer(ports().webhooks.deliveries(webhook=webhook, **paging()))


@serves(blueprint, "send_delivery_again")
def send_delivery_again(id: str) -> flask.Response:
    return json_answer(service.send_again(principal(), id, webhooks=ports().webhooks, alarm=ports().webhook_sender))


@serves(blueprint, "tell_webhooks")
def tell_webhooks() -> flask.Response:
    event = ports().decode_event(dict(flask.request.headers), flask.request.get_data()[:EVENT_LIMIT_BYTES])
    service.tell(event, webhooks=ports().webhooks, alarm=ports().webhook_sender)
    if ports().settings.smtp_url:
        note_mails(event, record=ports().notice_mails)
    return flask.Response(status=204)
