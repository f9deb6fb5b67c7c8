"""Entries of the catalog that were deleted, and others that have their names now: old tasks get nothing of these."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.documents import DocumentSpec
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.errors import Conflict
from keruta.services.task_commands import retry
from keruta.services.ticks import refuse_orphans
from tests.support.world import ANN, BOB, World

SPECS: dict[str, Any] = {
    "queue": QueueSpec(name="x"),
    "repository": RepositorySpec(name="x", url="https://example.com/x.git"),
    "profile": ProfileSpec(name="x"),
    "document": DocumentSpec(name="x", title="old", text="old text"),
}
USES: dict[str, dict[str, Any]] = {
    "queue": {"queue": "x"}, "repository": {"repository": "x"}, "profile": {"profile": "x"},
    "document": {"documents": ["x"]},
}  # fmt: skip


def ended(world: World, kind: str) -> str:
    """A task that drew on an entry of that kind, and failed."""
    world.catalogs[kind].create(ANN, SPECS[kind])
    task = world.submit(**USES[kind])
    world.worker()
    assert world.assign() == 1
    world.start(task)
    world.end(task, status="failed", reason="ScriptFailed", message="x", exit_code=1)
    return task


@pytest.mark.parametrize("anew", [False, True], ids=["deleted", "made anew"])
@pytest.mark.parametrize("kind", SPECS)
def test_a_retry_without_what_the_task_needs_is_refused(world: World, kind: str, *, anew: bool) -> None:
    """Whoever has the name now."""
    task = ended(world, kind)
    world.catalogs[kind].delete(ANN, "x", None, force=False)
    if anew:
        world.catalogs[kind].create(BOB, SPECS[kind])

    with pytest.raises(Conflict, match=f"The {kind} x that this task was submitted with is not there any more") as told:
        retry(world.commands, ANN, task)

    assert told.value.reason == "ResourceDeleted"
    assert world.task(task).status == "failed"


@pytest.mark.parametrize("kind", SPECS)
def test_a_retry_with_an_entry_that_was_changed_is_another_attempt(world: World, kind: str) -> None:
    task = ended(world, kind)
    shown = world.catalogs[kind].show(ANN, "x")
    world.catalogs[kind].replace(ANN, "x", SPECS[kind], shown.meta.revision)

    retry(world.commands, ANN, task)

    assert world.task(task).status == "queued"


@pytest.mark.parametrize("kind", SPECS)
def test_a_name_and_a_revision_are_one_entrys_for_ever(world: World, kind: str) -> None:
    for revision in (1, 2, 3):
        assert world.catalogs[kind].create(ANN, SPECS[kind]).meta.revision == revision
        world.catalogs[kind].delete(ANN, "x", None, force=False)


def test_a_task_keeps_the_text_that_it_was_submitted_with(world: World) -> None:
    """And who makes a document of that name reads nothing of the deleted one."""
    own = DocumentSpec(name="x", title="old", text="old text", access=Access(manage=["name:bob"]))
    world.catalogs["document"].create(BOB, own)
    task = world.submit(documents=["x"], owner="bob", lookup_as=BOB.names)
    given = world.document(task)["spec"]["documents"][0]
    world.catalogs["document"].delete(BOB, "x", None, force=True)

    world.catalogs["document"].create(ANN, DocumentSpec(name="x", title="new", text="new text"))

    assert world.catalogs.documents.text("x", given["version"]) == "old text"
    stored = world.database["document_versions"].find_one({"_id": f"x/{given['version']}"})
    assert stored is not None
    assert "everyone" not in stored["readers"]


@pytest.mark.parametrize("kind", ["queue", "repository", "profile"])
def test_an_attempt_gets_nothing_of_an_entry_that_took_a_name_over(world: World, kind: str) -> None:
    """Not by an automatic retry, either: the task is assigned already, or on its way back."""
    world.catalogs[kind].create(ANN, SPECS[kind])
    task = world.submit(**USES[kind])
    world.worker()
    world.assign()
    world.catalogs[kind].delete(ANN, "x", None, force=True)
    world.catalogs[kind].create(BOB, SPECS[kind])

    fault = world.assigned("w1")[0].specification

    assert fault is not None
    assert fault.fault is not None
    assert (fault.task, fault.fault.reason, fault.fault.message_code) == (task, "ResourceDeleted", "task_needs_gone")


def test_a_task_that_comes_back_to_a_deleted_queue_fails_and_does_not_wait_for_ever(world: World) -> None:
    world.catalogs["queue"].create(ANN, SPECS["queue"])
    lost, kept = world.submit(queue="x"), world.submit()
    world.worker()
    world.assign()
    world.catalogs["queue"].delete(ANN, "x", None, force=True)
    world.lease_runs_out(lost)
    world.tick()
    world.database["tasks"].update_one({"_id": lost}, [{"$set": {"claim": "$lane"}}, {"$unset": ["not_before"]}])

    assert refuse_orphans(world.changes) == 1

    now = world.task(lost)
    assert (now.status, now.reason) == ("failed", "ResourceDeleted")
    assert world.task(kept).status == "assigned"
