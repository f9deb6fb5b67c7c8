"""The API route of the overview."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("overview", __name__)


@serves(blueprint, "overview")
def overview() -> flask.Response:
    return json_answer(ports().overview.of(principal()))
