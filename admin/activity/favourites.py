"""A person's favourites: repositories, queues, workers, templates and triggers that stand in their menu.

They are kept on the server, so they are there in every browser of theirs; each process remembers them for some seconds.
"""

from __future__ import annotations

import contextlib
from typing import Any

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.language import gettext, marked
from admin.site.pages import go, here, shows
from keruta.domain.favourites import Favourite, parse_favourite
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import InvalidRequest, Unavailable
from keruta.remembered import Remembered

blueprint = flask.Blueprint("favourites", __name__)

KNOWN_SECONDS = 5.0
KNOWN_AT_MOST = 1000


def _found(who: Principal) -> list[Favourite]:
    """Return a person's favourites; none while the database is away."""
    with contextlib.suppress(Unavailable):
        return ports().favourites.of(who.subject)
    return []


def _known() -> Remembered[str, list[Favourite]]:
    found: Remembered[str, list[Favourite]] = flask.current_app.extensions["keruta_favourites"]
    return found


def _of(who: Principal) -> list[Favourite]:
    """Return a person's favourites, a few seconds old at most."""
    return _known().of(who.subject, lambda: _found(who))


_KINDS = {
    "repository": marked("Repository"), "queue": marked("Queue"), "worker": marked("Worker"),
    "template": marked("Template"), "trigger": marked("Trigger"),
}  # fmt: skip


def favourite_kind(one: Favourite) -> str:
    return gettext(_KINDS[one.kind])


def is_favourite(kind: str, name: str) -> bool:
    return any(one.kind == kind and one.name == name for one in _of(principal()))


@shows(blueprint, "overview", "/favourites", "POST")
def change_favourites() -> flask.Response:
    """Add or remove one, as the form says."""
    form = flask.request.form
    wanted = parse_favourite(form.get("kind", ""), form.get("name", ""))
    if wanted is None:
        raise InvalidRequest(message("favourite_unknown"))
    who, store = principal(), ports().favourites
    if form.get("do") == "remove":
        store.remove(who.subject, wanted)
    else:
        store.add(who.subject, wanted)
    _known().forget(who.subject)
    return go(here(form.get("next", "/")), "favourite_removed" if form.get("do") == "remove" else "favourite_added")


def prepare(state: flask.blueprints.BlueprintSetupState) -> None:
    """Give every page the reader's favourites, when it asks for them."""
    state.app.extensions["keruta_favourites"] = Remembered(KNOWN_SECONDS, KNOWN_AT_MOST)

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        return {"favourites": lambda: _of(who) if who is not None and who.is_person else []}


blueprint.record(prepare)
blueprint.record(
    lambda state: state.app.jinja_env.globals.update(favourite_kind=favourite_kind, is_favourite=is_favourite)
)
