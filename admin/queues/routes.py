"""Pauses a queue, with a reason that every waiting task shows, and resumes it."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.catalog.routes import entry_answer
from admin.ports import ports
from keruta.domain.catalog.queues import PauseRequest
from keruta.http.requests import read_body
from keruta.services import catalog

blueprint = flask.Blueprint("queues", __name__)

PAUSE_BODY_LIMIT_BYTES = 4096


@serves(blueprint, "pause_queue")
def pause_queue(name: str) -> flask.Response:
    wanted = read_body(flask.request, PauseRequest, PAUSE_BODY_LIMIT_BYTES)
    return entry_answer(catalog.pause(principal(), name, wanted.reason, catalogs=ports().catalogs))


@serves(blueprint, "resume_queue")
def resume_queue(name: str) -> flask.Response:
    return entry_answer(catalog.resume(principal(), name, catalogs=ports().catalogs))
