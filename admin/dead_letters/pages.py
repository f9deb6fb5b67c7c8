"""The page of events that were not delivered."""

from __future__ import annotations

import flask

from admin.auth import paging, principal
from admin.ports import ports
from admin.site.pages import go, page, shows

blueprint = flask.Blueprint("dead_letters_pages", __name__)


@shows(blueprint, "list_dead_letters", "/dead-letters")
def letters() -> flask.Response:
    return page("dead_letters/list.html", found=ports().dead_letters.page(**paging()))


@shows(blueprint, "replay_dead_letter", "/dead-letters/<id>/replay", "POST")
def replay(id: str) -> flask.Response:
    ports().dead_letters.replay(principal().name, id)
    return go("/dead-letters", "replayed")
