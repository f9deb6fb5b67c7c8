"""Pauses a queue, with a reason that every waiting task shows, and resumes it."""

from __future__ import annotations

import flask

from admin.asking import principal, serves
from admin.catalog.routes import entry_answer
from admin.ports import ports
from keruta.domain.catalog.queues import PauseRequest
from keruta.edge import read_body

blueprint = flask.Blueprint("queues", __name__)

PAUSE_BODY_LIMIT_BYTES = 4096


@serves(blueprint, "pause_queue")
def pause_queue(name: str) -> flask.Response:
    wanted = read_body(flask.request, PauseRequest, PAUSE_BODY_LIMIT_BYTES)
    who = principal().name
    paused = {"reason": {"$literal": wanted.reason}, "by": {"$literal": who}, "at": "$$NOW"}
    view = ports().catalogs["queue"].set_field(who, principal().readers, name, "pause", [{"$set": {"paused": paused}}])
    return entry_answer(view)


@serves(blueprint, "resume_queue")
def resume_queue(name: str) -> flask.Response:
    """Its tasks may start again; the next tick, or a worker with a free slot, starts them."""
    view = (
        ports()
        .catalogs["queue"]
        .set_field(principal().name, principal().readers, name, "resume", [{"$unset": "paused"}])
    )
    return entry_answer(view)
