"""Closing a circuit, from wherever a page shows it."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import go, here, shows
from keruta.services.catalog import close_circuit

blueprint = flask.Blueprint("circuits_pages", __name__)


@shows(blueprint, "close_circuit", "/circuits/<id>/close", "POST")
def close_it(id: str) -> flask.Response:
    close_circuit(principal(), id, catalogs=ports().catalogs)
    return go(here(flask.request.form.get("next", "/")), "closed")
