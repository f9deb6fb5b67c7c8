"""The page with the result of checking a repository on its Git server."""

from __future__ import annotations

import flask

from admin.repositories.routes import look_at
from admin.site.pages import page, shows

blueprint = flask.Blueprint("repositories_pages", __name__)


@shows(blueprint, "validate_repository", "/repositories/<name>/validate", "POST")
def validate(name: str) -> flask.Response:
    return page("repositories/found.html", name=name, found=look_at(name))
