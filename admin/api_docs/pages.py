"""The OpenAPI document as a page, by a packaged viewer; what is tried there is done with one's own sign-in."""

from __future__ import annotations

import flask

from admin.site.pages import page, shows

blueprint = flask.Blueprint("api_docs", __name__)


@shows(blueprint, "me", "/api/docs")
def api_docs() -> flask.Response:
    return page("api_docs/viewer.html")
