"""The audit record, in pages."""

from __future__ import annotations

import flask

from admin.asking import number, ports, serves
from admin.catalog.routes import LIMIT_DEFAULT, LIMIT_MOST
from keruta.edge import json_answer

blueprint = flask.Blueprint("audit", __name__)


@serves(blueprint, "list_audit")
def list_audit() -> flask.Response:
    query = flask.request.args
    page = ports().catalogs.audit.page(
        who=query.get("who"),
        kind=query.get("kind"),
        of=query.get("of"),
        limit=number("limit", LIMIT_DEFAULT, LIMIT_MOST),
        cursor=query.get("cursor"),
    )
    return json_answer(page)
