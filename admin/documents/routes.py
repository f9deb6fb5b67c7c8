"""A document's versions."""

from __future__ import annotations

import flask

from admin.auth import paging, principal, serves
from admin.catalog.routes import entry_answer
from admin.ports import ports
from keruta.domain.messages import message
from keruta.errors import NotFound
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("documents", __name__)


@serves(blueprint, "list_versions")
def list_versions(name: str) -> flask.Response:
    return json_answer(ports().catalogs.documents.versions(principal(), name, **paging()))


@serves(blueprint, "show_version")
def show_version(name: str, version: str) -> flask.Response:
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise NotFound(message("catalog_no_version"), reason="VersionNotFound")
    return entry_answer(ports().catalogs.documents.version(principal(), name, int(version)))
