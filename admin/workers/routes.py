"""The API's routes of workers, and draining."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.common import Page
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("workers", __name__)


@serves(blueprint, "list_workers")
def list_workers() -> flask.Response:
    return json_answer(Page(items=ports().overview.workers()))


@serves(blueprint, "drain_worker")
def drain_worker(id: str) -> flask.Response:
    return json_answer(ports().overview.drain(principal(), id, draining=True))


@serves(blueprint, "undrain_worker")
def undrain_worker(id: str) -> flask.Response:
    return json_answer(ports().overview.drain(principal(), id, draining=False))
