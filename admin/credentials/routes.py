"""Asks the model's server whether it takes a stored key."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.model_keys import KeyCheck
from keruta.http.answers import json_answer
from keruta.services.catalog import check_key

blueprint = flask.Blueprint("credentials", __name__)


@serves(blueprint, "validate_credential")
def validate_credential(name: str) -> flask.Response:
    return json_answer(look_at(name))


def look_at(name: str) -> KeyCheck:
    """Check a key at its model's server. Raises NotFound, Forbidden."""
    return check_key(principal(), name, catalogs=ports().catalogs, model_check=ports().model_check)
