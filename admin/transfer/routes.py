"""The catalog as YAML, out and in."""

from __future__ import annotations

import flask

from admin.auth import flag, principal, serves
from admin.ports import ports
from admin.site.stream_limits import counted
from keruta.http.answers import json_answer
from keruta.http.requests import read_text
from keruta.services.catalog import bring_in

blueprint = flask.Blueprint("transfer", __name__)

BODY_LIMIT_BYTES = 32 * 1024 * 1024


@serves(blueprint, "export_catalog")
def export_catalog() -> flask.Response:
    response = flask.Response(ports().transfer.export(), content_type="application/yaml; charset=utf-8")
    return counted(response, principal())


@serves(blueprint, "import_catalog")
def import_catalog() -> flask.Response:
    """All of it is done, or nothing; what stands there already changes nothing."""
    dry_run = flag("dry_run")
    text = read_text(flask.request, "application/yaml", BODY_LIMIT_BYTES)
    return json_answer(bring_in(principal(), text, dry_run=dry_run, transfer=ports().transfer))
