"""The audit record: in pages, or whole as NDJSON."""

from __future__ import annotations

import flask
import msgspec

from admin.auth import paging, serves
from admin.ports import ports
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("audit", __name__)

NDJSON = "application/x-ndjson"


def wanted() -> dict[str, str | None]:
    """Whose entries, and of what, the address asks for; an empty field asks for all."""
    query = flask.request.args
    return {name: query.get(name) or None for name in ("who", "kind", "of")}


def whole() -> flask.Response:
    """Every entry that is asked for, newest first, a line of JSON each, as it is read from the database."""
    lines = (msgspec.json.encode(entry) + b"\n" for entry in ports().catalogs.audit.everything(**wanted()))
    return flask.Response(lines, content_type=NDJSON)


@serves(blueprint, "list_audit")
def list_audit() -> flask.Response:
    if flask.request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON:
        return whole()
    return json_answer(ports().catalogs.audit.page(**wanted(), **paging()))
