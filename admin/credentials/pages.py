"""The page with the result of checking a key at its model's server."""

from __future__ import annotations

import flask

from admin.credentials.routes import look_at
from admin.site.pages import page, shows

blueprint = flask.Blueprint("credentials_pages", __name__)


@shows(blueprint, "validate_credential", "/credentials/<name>/validate", "POST")
def validate(name: str) -> flask.Response:
    return page("credentials/check.html", name=name, found=look_at(name))
