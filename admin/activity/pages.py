"""Pages of what goes on at one repository, queue or worker: tasks, charts, what waits and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flask

from admin.auth import principal
from admin.badges.pages import badges_of
from admin.catalog.beside import beside
from admin.catalog.pages import managed_by_me
from admin.overview.charts import bars, line
from admin.ports import ports
from admin.site.pages import page, shows
from admin.site.time_zone import zone
from keruta.domain.activity import Activity, Place
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.messages import message
from keruta.domain.task import TaskSummary, WaitingView
from keruta.errors import NotFound

blueprint = flask.Blueprint("activity_pages", __name__)

LANES_EXPLAINED = 3  # of different queues, repositories, profiles and submitters; tasks of one lane wait for the same


@shows(blueprint, "show_repository", "/repositories/<name>/activity")
def repository_activity(name: str) -> flask.Response:
    entry = ports().catalogs["repository"].show(principal(), name)
    manages = managed_by_me(entry, KINDS["repository"])
    return _page(
        Place(kind="repository", name=entry.name), entry=entry, beside=beside("repository", entry), manages=manages,
        badges=badges_of(entry.name) if manages else [], public_url=ports().settings.public_url.rstrip("/"),
    )  # fmt: skip


@shows(blueprint, "show_queue", "/queues/<name>/activity")
def queue_activity(name: str) -> flask.Response:
    entry = ports().catalogs["queue"].show(principal(), name)
    return _page(Place(kind="queue", name=entry.name), entry=entry)


@shows(blueprint, "list_workers", "/workers/<id>")
def worker_activity(id: str) -> flask.Response:
    """Show a worker that has reported within a day."""
    worker = next((one for one in ports().overview.workers() if one.id == id), None)
    if worker is None:
        raise NotFound(message("worker_missing"), reason="WorkerNotFound")
    return _page(Place(kind="worker", name=worker.id), worker=worker, workers=[worker])


def _page(place: Place, **more: Any) -> flask.Response:
    found = ports().activities.of(principal(), place, zone())
    part = flask.request.headers.get("X-Part") == "activity"
    listed = [*found.at_work, *found.waiting, *found.recent]
    return page(
        "activity/now.html" if part else "activity/place.html", place=place, found=found, bars=bars, line=line,
        why=_why(found),
        names=ports().accounts.names([task.owner for task in listed]), **more,
    )  # fmt: skip


def _why(found: Activity) -> Mapping[str, WaitingView]:
    """Return why tasks wait, by their ids: the first ones of some lanes are asked, the others wait for the same."""
    told: dict[tuple[str, ...], WaitingView | None] = {}
    for task in found.waiting:
        if _lane(task) not in told and len(told) < LANES_EXPLAINED:
            try:
                told[_lane(task)] = ports().reading.task(principal(), task.id).waiting
            except NotFound:  # it has gone meanwhile
                continue
    return _by_task(found.waiting, told)


def _by_task(
    waiting: Sequence[TaskSummary], told: Mapping[tuple[str, ...], WaitingView | None]
) -> dict[str, WaitingView]:
    return {task.id: why for task in waiting if (why := told.get(_lane(task))) is not None}


def _lane(task: TaskSummary) -> tuple[str, ...]:
    return task.queue, task.owner, task.repository.name or task.repository.url, task.profile
