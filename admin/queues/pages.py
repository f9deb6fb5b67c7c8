"""A queue's pause and end of it, from its page."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site import forms
from admin.site.pages import go, shows
from keruta.domain.catalog.queues import PauseRequest
from keruta.errors import InvalidRequest
from keruta.services import catalog

blueprint = flask.Blueprint("queues_pages", __name__)


@shows(blueprint, "pause_queue", "/queues/<name>/pause", "POST")
def pause_it(name: str) -> flask.Response:
    wanted, faults = forms.read(PauseRequest, flask.request.form)
    if wanted is None:
        raise InvalidRequest.of(faults)
    catalog.pause(principal(), name, wanted.reason, catalogs=ports().catalogs)
    return go(f"/queues/{name}", "paused", name)


@shows(blueprint, "resume_queue", "/queues/<name>/resume", "POST")
def resume_it(name: str) -> flask.Response:
    catalog.resume(principal(), name, catalogs=ports().catalogs)
    return go(f"/queues/{name}", "resumed", name)
