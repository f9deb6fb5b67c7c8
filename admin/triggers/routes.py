"""A trigger's deliveries, in the API."""

from __future__ import annotations

from datetime import UTC, datetime

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta.domain.deliveries import BODY_LIMIT_BYTES
from keruta.domain.principal import Principal
from keruta.domain.trigger_tests import TriggerTest, TriggerTried
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services.trigger_tests import try_trigger as try_trigger_with

TEST_LIMIT_BYTES = BODY_LIMIT_BYTES
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


@serves(blueprint, "try_trigger")
def try_trigger(name: str) -> flask.Response:
    test = read_body(flask.request, TriggerTest, TEST_LIMIT_BYTES)
    return json_answer(tried(principal(), name, test))


def tried(who: Principal, name: str, test: TriggerTest) -> TriggerTried:
    """Try a trigger with an event; nothing is started."""
    own = ports()
    return try_trigger_with(
        who, name, test, datetime.now(UTC), seen=own.forge_deliveries, store=own.delivery_store, forges=own.forges
    )


@serves(blueprint, "replay_delivery")
def replay_delivery(name: str, id: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.replay(principal(), name, id))


@serves(blueprint, "approve_delivery")
def approve_delivery(name: str, id: str) -> flask.Response:
    return json_answer(ports().forge_deliveries.approve(principal(), name, id))
