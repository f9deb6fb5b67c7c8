"""Takes what the broker could not deliver; lists it, and gives it to the broker once more."""

from __future__ import annotations

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta import metrics
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("dead_letters", __name__)

BODY_LIMIT_BYTES = 64 * 1024


@serves(blueprint, "dead_letters")
def dead_letters() -> flask.Response:
    """The event is kept for 14 days, with where it was to go and what was answered there."""
    event = ports().decode_event(dict(flask.request.headers), flask.request.get_data()[:BODY_LIMIT_BYTES])
    headers = flask.request.headers
    ports().dead_letters.keep(
        event, destination=headers.get("ce-knativeerrordest"), code=headers.get("ce-knativeerrorcode")
    )
    metrics.DEAD_LETTERS.inc()
    return flask.Response(status=204)


@serves(blueprint, "list_dead_letters")
def list_dead_letters() -> flask.Response:
    return json_answer(ports().dead_letters.page(**paging()))


@serves(blueprint, "replay_dead_letter")
def replay_dead_letter(id: str) -> flask.Response:
    return json_answer(ports().dead_letters.replay(principal().name, id))
