"""The page and the count of what waits for a person: questions, tasks with an unknown end, deliveries to approve.

The count stands in every page's menu and title. It is read by two indexes (`readers_status` of tasks, `held` of
deliveries), at most a few hundred entries of each, and is kept for some seconds for each person by each process.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import page, shows
from keruta.domain.api.table import BY_NAME
from keruta.domain.principal import Principal
from keruta.errors import Unavailable

blueprint = flask.Blueprint("tasks_needs", __name__)

SHOWN = 100
COUNT_SECONDS = 5.0
KNOWN_AT_MOST = 1000


class Counts:
    """The counts of people that were asked for not long ago."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}

    def of(self, who: Principal) -> int:
        """Return how much waits for a person, a few seconds old at most; 0 while the database is away."""
        key, now = (*who.names, *sorted(who.roles)), time.monotonic()
        with self._lock:
            at, count = self._known.get(key, (0.0, 0))
        if now - at < COUNT_SECONDS and at:
            return count
        count = 0
        with contextlib.suppress(Unavailable):
            count = len(ports().reading.needing(who, limit=SHOWN)) + len(_held(who))
        with self._lock:
            if len(self._known) >= KNOWN_AT_MOST:
                self._known.clear()
            self._known[key] = (now, count)
        return count

    def forget(self) -> None:
        with self._lock:
            self._known.clear()


def _held(who: Principal) -> list[Any]:
    if not who.roles & BY_NAME["approve_delivery"].roles:
        return []
    return ports().forge_deliveries.held(who, limit=SHOWN)


@shows(blueprint, "list_tasks", "/needs-you")
def needs_you() -> flask.Response:
    tasks = ports().reading.needing(principal(), limit=SHOWN)
    part = flask.request.headers.get("X-Part") == "needs"
    return page(
        "tasks/needs_rows.html" if part else "tasks/needs.html", tasks=tasks, held=_held(principal()),
        names=ports().accounts.names([task.owner for task in tasks]),
    )  # fmt: skip


def prepare(state: flask.blueprints.BlueprintSetupState) -> None:
    """Give every page the count, when it asks for it."""
    counts = state.app.extensions.setdefault("keruta_needs", Counts())

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        return {"needs_count": lambda: counts.of(who) if who is not None and who.is_person else 0}


blueprint.record(prepare)
