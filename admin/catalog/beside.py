"""Lists beside the form on an entry's page: a trigger's last deliveries; a repository's triggers and tasks."""

from __future__ import annotations

from typing import Any

import msgspec

from admin.auth import principal
from admin.ports import ports
from admin.site.language import gettext, marked
from keruta.domain.catalog.common import Wanted
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.triggers import TriggerView
from keruta.domain.deliveries import DeliveryView
from keruta.domain.forge_reports import PostView
from keruta.domain.task import TaskSummary
from keruta.domain.task_list import TaskFilter
from keruta.errors import NotFound

LAST = 10
TRIGGERS = 50
_STATES = {
    "received": marked("received"), "started": marked("started a task"), "held": marked("waits for approval"),
    "skipped": marked("skipped"), "repeated": marked("repeated"), "ignored": marked("ignored"),
    "ended": marked("ended tasks"), "failed": marked("failed"),
}  # fmt: skip
_COLOURS = {"started": "succeeded", "failed": "failed", "received": "queued"}


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The lists of an entry's page."""

    deliveries: list[DeliveryView] = []
    triggers: list[TriggerView] = []
    tasks: list[TaskSummary] = []
    pull_requests: list[PostView] = []


def beside(kind: str, entry: Any) -> Beside:
    """Return what is shown beside an entry, as far as this person may see it."""
    who = principal()
    if kind == "trigger":
        try:
            found = ports().forge_deliveries.page(who, entry.name, limit=LAST, cursor=None)
        except NotFound:  # the trigger's repository is not theirs to see
            return Beside()
        return Beside(deliveries=list(found.items))
    if kind == "repository":
        named = Wanted(limit=TRIGGERS, filters={KINDS["trigger"].filters["repository"]: entry.name})
        triggers, _ = ports().catalogs["trigger"].page(who, named)
        wanted = TaskFilter(facets=(f"repository={entry.name}",))
        tasks = list(ports().reading.page(who, wanted, limit=LAST, cursor=None).items)
        pulls = ports().posts.pull_requests([one.id for one in tasks])
        return Beside(triggers=triggers, tasks=tasks, pull_requests=pulls)
    return Beside()


def state_name(state: str) -> str:
    return gettext(_STATES[state])


def state_colour(state: str) -> str:
    return _COLOURS.get(state, "waiting")
