"""Closing a circuit, from wherever a page shows it."""

from __future__ import annotations

import flask

from admin.circuits.routes import close
from admin.site.pages import go, here, shows

blueprint = flask.Blueprint("circuits_pages", __name__)


@shows(blueprint, "close_circuit", "/circuits/<id>/close", "POST")
def close_it(id: str) -> flask.Response:
    close(id)
    return go(here(flask.request.form.get("next", "/")), "closed")
