"""Takes what the broker could not deliver."""

from __future__ import annotations

from datetime import UTC, datetime

import flask

from admin.asking import ports, serves
from keruta.adapters.cloudevents import decode
from keruta.adapters.mongo.client import translated
from keruta.domain.naming import new_id

blueprint = flask.Blueprint("dead_letters", __name__)

BODY_LIMIT_BYTES = 64 * 1024


@serves(blueprint, "dead_letters")
def dead_letters() -> flask.Response:
    """The event is kept for 14 days, with where it was to go and what was answered there."""
    event = decode(dict(flask.request.headers), flask.request.get_data()[:BODY_LIMIT_BYTES])
    headers = flask.request.headers
    with translated():
        ports().database["dead_letters"].insert_one(
            {
                "_id": new_id(),
                "event": {"id": event.id, "type": event.type, "subject": event.subject, "data": event.data},
                "destination": headers.get("ce-knativeerrordest"),
                "code": headers.get("ce-knativeerrorcode"),
                "at": datetime.now(UTC),
            }
        )
    return flask.Response(status=204)
