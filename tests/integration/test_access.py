"""Grants on repositories and queues: what may not be seen does not exist, what may not be run or changed is refused."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.adapters.mongo.access_propagation import Spreading
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.principal import Principal
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.submission import grant_missing, make_task
from keruta.domain.task import TaskRequest
from keruta.domain.task_list import TaskFilter
from keruta.errors import Forbidden, NotFound
from keruta.services.task_commands import cancel
from tests.support.world import World

URL = "https://example.com/app.git"


def person(name: str, *roles: str, groups: tuple[str, ...] = ()) -> Principal:
    return Principal(subject=f"id-of-{name}", name=name, roles=frozenset(roles), groups=frozenset(groups))


ADMIN = person("ada", "admin")
READER = person("rae", "developer", groups=("readers",))
RUNNER = person("rob", "developer")
KEEPER = person("kim", "developer")
STRANGER = person("sam", "developer")
ACCESS = Access(read=["group:readers"], run=["name:rob"], manage=["user:id-of-kim"])


def repository(world: World, access: Access | None = ACCESS) -> None:
    world.catalogs["repository"].create(ADMIN, RepositorySpec(name="app", url=URL, access=access))


def submit(world: World, who: Principal, **fields: Any) -> str:
    request = TaskRequest(repository="app", script="true", **fields)
    found = world.lookup.find(who.names, request)
    task, faults = make_task("", request, who.subject, found, DEFAULT_TRANSPORTS)
    assert task is not None, faults
    assert grant_missing(found, who.names) is None
    return world.submit(owner=who.subject, repository="app", lookup_as=who.names, **fields)


def listed(world: World, who: Principal, **wanted: Any) -> list[str]:
    page = world.reading.page(who.names, TaskFilter(**wanted), limit=50, cursor=None)
    return [item.id for item in page.items]


def test_what_may_not_be_seen_does_not_exist(world: World) -> None:
    """Neither the entry, nor its tasks: in lists, by their identity, by their log."""
    repository(world)
    task_id = submit(world, RUNNER)

    for who in (ADMIN, READER, RUNNER, KEEPER):
        assert world.catalogs["repository"].show(who, "app").name == "app"
        assert listed(world, who) == [task_id]
        assert listed(world, who, facets=["repository=app"]) == [task_id]
        assert world.reading.task(who.names, task_id).id == task_id
    with pytest.raises(NotFound):
        world.catalogs["repository"].show(STRANGER, "app")
    assert listed(world, STRANGER) == []
    assert listed(world, STRANGER, status="queued") == []
    for look in (world.reading.task, lambda names, one: world.reading.log_attempt(names, one, None)):
        with pytest.raises(NotFound):
            look(STRANGER.names, task_id)


def test_who_may_see_and_not_run(world: World) -> None:
    repository(world)
    request = TaskRequest(repository="app", script="true")

    missing = {who.name: grant_missing(world.lookup.find(who.names, request), who.names) for who in
               (ADMIN, READER, RUNNER, KEEPER)}  # fmt: skip

    assert [name for name, said in missing.items() if said] == ["rae"]
    assert missing["rae"] is not None
    assert "not run tasks on it" in missing["rae"]


def test_a_task_is_its_submitters_and_theirs_who_manage_what_it_is_on(world: World) -> None:
    world.catalogs["queue"].create(ADMIN, QueueSpec(name="slow", access=Access(manage=["name:quin"])))
    repository(world, None)
    keeper_of_queue = person("quin", "developer")
    allowed = []
    for who in (ADMIN, READER, RUNNER, KEEPER, STRANGER, keeper_of_queue):
        task_id = world.submit(owner=RUNNER.subject, repository="app", queue="slow", lookup_as=ADMIN.names)
        try:
            cancel(world.commands, who, task_id)
            allowed.append(who.name)
        except (Forbidden, NotFound):  # the queue's grants hide it from some
            continue

    assert allowed == ["ada", "rob", "quin"]


def test_without_grants_a_developer_cancels_their_own_only(world: World) -> None:
    repository(world, None)
    task_id = submit(world, RUNNER)

    with pytest.raises(Forbidden, match="its submitter"):
        cancel(world.commands, STRANGER, task_id)
    cancel(world.commands, RUNNER, task_id)

    assert world.task(task_id).status == "cancelled"


def test_who_manages_an_entry_changes_it_and_others_do_not(world: World) -> None:
    repository(world)
    catalog = world.catalogs["repository"]
    for who in (READER, RUNNER):
        with pytest.raises(Forbidden):
            catalog.replace(who, "app", RepositorySpec(name="app", url=URL), None)
        with pytest.raises(Forbidden):
            catalog.delete(who, "app", None, force=True)
    with pytest.raises(NotFound):
        catalog.delete(STRANGER, "app", None, force=True)

    spec = RepositorySpec(name="app", url=URL, description="x", access=ACCESS)
    changed = catalog.replace(KEEPER, "app", spec, None)

    assert (changed.description, changed.meta.updated_by) == ("x", "kim")


def test_a_change_of_grants_reaches_the_tasks_that_are_there(world: World) -> None:
    """Those that ended long ago, too; and back again."""
    repository(world, None)
    task_id = submit(world, RUNNER)
    before = world.document(task_id)
    catalog = world.catalogs["repository"]

    catalog.replace(ADMIN, "app", RepositorySpec(name="app", url=URL, access=ACCESS), None)
    hidden = [who.name for who in (ADMIN, READER, RUNNER, KEEPER, STRANGER) if not listed(world, who)]
    managed = world.document(task_id)["managers"]
    found = listed(world, READER, facets=["queue=default"])
    catalog.replace(ADMIN, "app", RepositorySpec(name="app", url=URL), None)

    assert hidden == ["sam"]
    assert set(managed) == {"role:admin", "user:id-of-rob", "user:id-of-kim"}
    assert found == [task_id]
    assert listed(world, STRANGER) == [task_id]
    assert world.document(task_id)["seen_by"] == before["seen_by"]


def test_a_change_that_was_cut_short_is_finished(world: World) -> None:
    """As if the process had died between the entry and its tasks."""
    repository(world, None)
    task_id = submit(world, RUNNER)
    world.database["repositories"].update_one(
        {"_id": "app"}, {"$set": {"spec.access": {"read": ["name:rae"]}, "spreads": True}}
    )
    seen = listed(world, STRANGER)

    done = Spreading(world.database).finish()

    assert (seen, done, listed(world, STRANGER)) == ([task_id], 1, [])
    assert Spreading(world.database).finish() == 0


def test_a_queues_grants_hold_where_the_repository_has_none(world: World) -> None:
    world.catalogs["queue"].create(ADMIN, QueueSpec(name="secret", access=Access(run=["name:rob"])))
    repository(world, None)
    task_id = submit(world, RUNNER, queue="secret")

    assert (listed(world, RUNNER), listed(world, STRANGER)) == ([task_id], [])
    world.catalogs["queue"].replace(ADMIN, "secret", QueueSpec(name="secret"), None)
    assert listed(world, STRANGER) == [task_id]
