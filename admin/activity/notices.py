"""Notices: the ends of the tasks that a person has chosen to be told of, with a count in their menu.

What was chosen, and up to when notices were seen, is kept on the server; each process remembers the count for some
seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import go, page, shows
from keruta.domain.notices import NoticeChoice
from keruta.domain.principal import Principal
from keruta.errors import Unavailable

blueprint = flask.Blueprint("notices", __name__)

SHOWN = 100
COUNT_SECONDS = 5.0
KNOWN_AT_MOST = 1000


class Counts:
    """The counts of people that were asked for not long ago."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, int]] = {}

    def of(self, who: Principal) -> int:
        """Return how many notices a person has not seen, a few seconds old at most; 0 while the database is away."""
        now = time.monotonic()
        with self._lock:
            at, count = self._known.get(who.subject, (0.0, 0))
        if at and now - at < COUNT_SECONDS:
            return count
        count = 0
        with contextlib.suppress(Unavailable):
            choice = ports().notices.choice(who.subject)
            if choice.mine or choice.watched:
                count = ports().notices.unseen(who, _facets(who, choice), choice.statuses)
        with self._lock:
            if len(self._known) >= KNOWN_AT_MOST:
                self._known.clear()
            self._known[who.subject] = (now, count)
        return count

    def forget(self, subject: str) -> None:
        with self._lock:
            self._known.pop(subject, None)


def _counts() -> Counts:
    found = flask.current_app.extensions.setdefault("keruta_notices", Counts())
    assert isinstance(found, Counts)
    return found


def _facets(who: Principal, choice: NoticeChoice) -> list[str]:
    favourites = ports().favourites.of(who.subject) if choice.watched else []
    return choice.facets(who.subject, favourites)


@shows(blueprint, "list_tasks", "/notices")
def notices() -> flask.Response:
    who = principal()
    choice = ports().notices.choice(who.subject)
    found = ports().notices.found(who, _facets(who, choice), choice.statuses, limit=SHOWN)
    part = flask.request.headers.get("X-Part") == "notices"
    return page(
        "activity/notices_rows.html" if part else "activity/notices.html", choice=choice, tasks=found,
        seen_at=ports().notices.seen_at(who.subject),
        names=ports().accounts.names([task.owner for task in found]),
    )  # fmt: skip


@shows(blueprint, "list_tasks", "/notices", "POST")
def choose_notices() -> flask.Response:
    """Keep the choice, or mark all as seen."""
    who, form = principal(), flask.request.form
    if form.get("do") == "seen":
        ports().notices.see(who.subject)
    else:
        choice = NoticeChoice(mine="mine" in form, watched="watched" in form, failures_only="failures_only" in form)
        ports().notices.choose(who.subject, choice)
    _counts().forget(who.subject)
    return go("/notices", "notices_seen" if form.get("do") == "seen" else "notices_chosen")


def prepare(state: flask.blueprints.BlueprintSetupState) -> None:
    """Give every page the count, when it asks for it."""
    state.app.extensions.setdefault("keruta_notices", Counts())

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        return {"notices_count": lambda: _counts().of(who) if who is not None and who.is_person else 0}


blueprint.record(prepare)
