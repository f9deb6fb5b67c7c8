"""A person's favourites: repositories, queues, workers, templates and triggers that stand in their menu.

They are kept on the server, so they are there in every browser of theirs; each process remembers them for some seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
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

blueprint = flask.Blueprint("favourites", __name__)

KNOWN_SECONDS = 5.0
KNOWN_AT_MOST = 1000


class Known:
    """The favourites of people that were asked for not long ago."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, list[Favourite]]] = {}

    def of(self, who: Principal) -> list[Favourite]:
        """Return a person's favourites, a few seconds old at most; none while the database is away."""
        now = time.monotonic()
        with self._lock:
            at, found = self._known.get(who.subject, (0.0, []))
        if at and now - at < KNOWN_SECONDS:
            return found
        found = []
        with contextlib.suppress(Unavailable):
            found = ports().favourites.of(who.subject)
        with self._lock:
            if len(self._known) >= KNOWN_AT_MOST:
                self._known.clear()
            self._known[who.subject] = (now, found)
        return found

    def forget(self, subject: str) -> None:
        with self._lock:
            self._known.pop(subject, None)


def _known() -> Known:
    found = flask.current_app.extensions.setdefault("keruta_favourites", Known())
    assert isinstance(found, Known)
    return found


_KINDS = {
    "repository": marked("Repository"), "queue": marked("Queue"), "worker": marked("Worker"),
    "template": marked("Template"), "trigger": marked("Trigger"),
}  # fmt: skip


def favourite_kind(one: Favourite) -> str:
    return gettext(_KINDS[one.kind])


def is_favourite(kind: str, name: str) -> bool:
    return any(one.kind == kind and one.name == name for one in _known().of(principal()))


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
    state.app.extensions.setdefault("keruta_favourites", Known())

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        return {"favourites": lambda: _known().of(who) if who is not None and who.is_person else []}


blueprint.record(prepare)
blueprint.record(
    lambda state: state.app.jinja_env.globals.update(favourite_kind=favourite_kind, is_favourite=is_favourite)
)
