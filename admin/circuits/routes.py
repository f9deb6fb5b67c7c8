"""The circuits that count failures, and closing one by hand."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.common import Page
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("circuits", __name__)


@serves(blueprint, "list_circuits")
def list_circuits() -> flask.Response:
    return json_answer(Page(items=ports().catalogs.circuits.page()))


@serves(blueprint, "close_circuit")
def close_circuit(id: str) -> flask.Response:
    close(id)
    return flask.Response(status=204)


def close(id: str) -> None:
    """Its tasks may run again. Raises NotFound."""
    catalogs = ports().catalogs
    closed = catalogs.circuits.close(id)
    catalogs.audit.record(principal().name, "close_circuit", closed.kind, closed.name, readers=["everyone"])
