"""The circuits that count failures, and closing one by hand."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.common import Page
from keruta.http.answers import json_answer
from keruta.services.catalog import close_circuit

blueprint = flask.Blueprint("circuits", __name__)


@serves(blueprint, "list_circuits")
def list_circuits() -> flask.Response:
    return json_answer(Page(items=ports().catalogs.circuits.page(principal())))


@serves(blueprint, "close_circuit")
def close_one(id: str) -> flask.Response:
    close_circuit(principal(), id, catalogs=ports().catalogs)
    return flask.Response(status=204)
