"""A document's versions."""

from __future__ import annotations

import flask

from admin.asking import number, ports, principal, serves
from admin.catalog.routes import LIMIT_DEFAULT, LIMIT_MOST, entry_answer
from keruta.edge import json_answer
from keruta.errors import NotFound

blueprint = flask.Blueprint("documents", __name__)


@serves(blueprint, "list_versions")
def list_versions(name: str) -> flask.Response:
    documents = ports().catalogs.documents
    limit = number("limit", LIMIT_DEFAULT, LIMIT_MOST)
    return json_answer(
        documents.versions(principal().readers, name, limit=limit, cursor=flask.request.args.get("cursor"))
    )


@serves(blueprint, "show_version")
def show_version(name: str, version: str) -> flask.Response:
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise NotFound("There is no such version.", reason="VersionNotFound")
    return entry_answer(ports().catalogs.documents.version(principal().readers, name, int(version)))
