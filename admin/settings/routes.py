"""The settings in force."""

from __future__ import annotations

import os

import flask

from admin.auth import serves
from admin.ports import ports
from admin.site.pages import page, shows
from keruta.domain.catalog.common import Page
from keruta.http.answers import json_answer
from keruta.settings_view import shown

blueprint = flask.Blueprint("settings", __name__)


@serves(blueprint, "list_settings")
def list_settings() -> flask.Response:
    return json_answer(Page(items=shown(ports().settings, os.environ)))


@shows(blueprint, "list_settings", "/settings")
def settings() -> flask.Response:
    return page("settings/list.html", settings=shown(ports().settings, os.environ))
