"""The page and the count of what waits for a person: questions, tasks with an unknown end, deliveries to approve.

The count stands in every page's menu and title. It is read by two indexes (`readers_status` of tasks, `held` of
deliveries), at most a few hundred entries of each, and is kept for some seconds for each person by each process.
"""

from __future__ import annotations

import contextlib
from typing import Any

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import page, shows
from keruta.domain.api.table import BY_NAME
from keruta.domain.principal import Principal
from keruta.errors import Unavailable
from keruta.remembered import Remembered

blueprint = flask.Blueprint("tasks_needs", __name__)

SHOWN = 100
COUNT_SECONDS = 5.0
KNOWN_AT_MOST = 1000


def _count(who: Principal) -> int:
    """Return how much waits for a person; 0 while the database is away."""
    with contextlib.suppress(Unavailable):
        return len(ports().reading.needing(who, limit=SHOWN)) + len(_held(who))
    return 0


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
    counts: Remembered[tuple[str, ...], int] = Remembered(COUNT_SECONDS, KNOWN_AT_MOST)
    state.app.extensions["keruta_needs"] = counts

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        if who is None or not who.is_person:
            return {"needs_count": lambda: 0}
        key = (*who.names, *sorted(who.roles))
        return {"needs_count": lambda: counts.of(key, lambda: _count(who))}


blueprint.record(prepare)
