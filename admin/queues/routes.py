"""Pauses a queue, with a reason that every waiting task shows, and resumes it."""

from __future__ import annotations

from typing import Any

import flask

from admin.auth import principal, serves
from admin.catalog.routes import entry_answer
from admin.ports import ports
from keruta.domain.audit import Action
from keruta.domain.catalog.queues import PauseRequest, QueueView
from keruta.http.requests import read_body

blueprint = flask.Blueprint("queues", __name__)

PAUSE_BODY_LIMIT_BYTES = 4096


@serves(blueprint, "pause_queue")
def pause_queue(name: str) -> flask.Response:
    return entry_answer(pause(name, read_body(flask.request, PauseRequest, PAUSE_BODY_LIMIT_BYTES).reason))


@serves(blueprint, "resume_queue")
def resume_queue(name: str) -> flask.Response:
    return entry_answer(resume(name))


def pause(name: str, reason: str) -> QueueView:
    """Nothing of it is started until it is resumed. Raises NotFound, Forbidden."""
    paused = {"reason": {"$literal": reason}, "by": {"$literal": principal().name}, "at": "$$NOW"}
    return _set(name, "pause", [{"$set": {"paused": paused}}])


def resume(name: str) -> QueueView:
    """Its tasks may start again; the next tick, or a worker with a free slot, starts them. Raises as `pause`."""
    return _set(name, "resume", [{"$unset": "paused"}])


def _set(name: str, action: Action, change: list[dict[str, Any]]) -> QueueView:
    catalog = ports().catalogs["queue"]
    view: QueueView = catalog.set_field(principal().name, principal().readers, name, action, change)
    return view
