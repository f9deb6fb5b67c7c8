"""The audit record: in pages, or whole as NDJSON."""

from __future__ import annotations

import flask
import msgspec

from admin.asking import paging, serves
from admin.ports import ports
from keruta.edge import json_answer

blueprint = flask.Blueprint("audit", __name__)

NDJSON = "application/x-ndjson"


@serves(blueprint, "list_audit")
def list_audit() -> flask.Response:
    query = flask.request.args
    wanted = {"who": query.get("who"), "kind": query.get("kind"), "of": query.get("of")}
    audit = ports().catalogs.audit
    if flask.request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON:
        lines = (msgspec.json.encode(entry) + b"\n" for entry in audit.everything(**wanted))
        return flask.Response(lines, content_type=NDJSON)
    return json_answer(audit.page(**wanted, **paging()))
