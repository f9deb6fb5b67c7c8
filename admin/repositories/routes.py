"""Looks at a repository's real server, with its credential, and says what is there."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.repositories import Validation
from keruta.http.answers import json_answer
from keruta.services.catalog import check_repository

blueprint = flask.Blueprint("repositories", __name__)


@serves(blueprint, "validate_repository")
def validate_repository(name: str) -> flask.Response:
    return json_answer(look_at(name))


def look_at(name: str) -> Validation:
    """Check a repository on its Git server. Raises NotFound."""
    return check_repository(principal(), name, catalogs=ports().catalogs, remote_check=ports().remote_check)
