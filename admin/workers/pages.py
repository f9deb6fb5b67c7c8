"""The page of workers."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import go, page, shows

blueprint = flask.Blueprint("workers_pages", __name__)


@shows(blueprint, "list_workers", "/workers")
def workers() -> flask.Response:
    return page("workers/list.html", workers=ports().overview.workers())


@shows(blueprint, "drain_worker", "/workers/<id>/drain", "POST")
def drain(id: str) -> flask.Response:
    ports().overview.drain(principal(), id, draining=True)
    return go("/workers", "drained")


@shows(blueprint, "undrain_worker", "/workers/<id>/undrain", "POST")
def undrain(id: str) -> flask.Response:
    ports().overview.drain(principal(), id, draining=False)
    return go("/workers", "undrained")
