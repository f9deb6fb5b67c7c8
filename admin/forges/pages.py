"""The pages of a forge: signing in, and its repositories with a button to add each."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.forges.routes import check
from admin.ports import ports
from admin.site import forms
from admin.site.pages import go, page, shows
from keruta.domain.catalog.forges import AddRepository, ConnectRequest
from keruta.errors import InvalidRequest
from keruta.services import forges as service

blueprint = flask.Blueprint("forges_pages", __name__)


@shows(blueprint, "validate_forge", "/forges/<name>/validate", "POST")
def validate(name: str) -> flask.Response:
    return page("forges/check.html", name=name, found=check(name))


@shows(blueprint, "list_forge_repositories", "/forges/<name>/repositories")
def repositories(name: str) -> flask.Response:
    cursor = flask.request.args.get("cursor")
    found = service.found_repositories(principal(), name, cursor, forges=ports().forges)
    return page("forges/repositories.html", name=name, found=found)


@shows(blueprint, "add_forge_repository", "/forges/<name>/repositories", "POST")
def add(name: str) -> flask.Response:
    wanted, faults = forms.read(AddRepository, flask.request.form)
    if wanted is None:
        raise InvalidRequest.of(faults)
    made = service.add_repository(
        principal(), name, wanted, forges=ports().forges, catalog=ports().catalogs["repository"]
    )
    return go(f"/repositories/{made.name}", "forge_repository_added", made.name)


@shows(blueprint, "connect_trigger", "/forges/<name>/webhooks", "POST")
def connect(name: str) -> flask.Response:
    wanted, faults = forms.read(ConnectRequest, flask.request.form)
    if wanted is None:
        raise InvalidRequest.of(faults)
    service.connect(
        principal(), name, wanted.trigger, forges=ports().forges, catalogs=ports().catalogs,
        public_url=ports().settings.public_url,
    )  # fmt: skip
    return go(f"/triggers/{wanted.trigger}", "forge_connected", wanted.trigger)
