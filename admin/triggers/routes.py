"""A trigger's deliveries, in the API."""

from __future__ import annotations

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("triggers", __name__)


@serves(blueprint, "list_trigger_deliveries")
def list_trigger_deliveries(name: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.page(principal(), name, **paging()))


@serves(blueprint, "show_delivery_body")
def show_delivery_body(name: str, id: str) -> flask.Response:
    return flask.Response(ports().forge_deliveries.body(principal(), name, id), mimetype="application/json")


@serves(blueprint, "run_trigger")
def run_trigger(name: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.run(principal(), name))


@serves(blueprint, "replay_delivery")
def replay_delivery(name: str, id: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.replay(principal(), name, id))


@serves(blueprint, "approve_delivery")
def approve_delivery(name: str, id: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.approve(principal(), name, id))
