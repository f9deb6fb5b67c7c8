"""Notices: the ends of tasks that a person has chosen to be told of, and how many of them they have not seen."""

from __future__ import annotations

import flask
import pytest

from keruta.domain.catalog.queues import QueueSpec
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, BOB, World, closed, person


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    world.catalogs["queue"].create(ANN, QueueSpec(name="nightly"))
    return signed_in(app, ANN)


def ran(world: World, status: str = "succeeded", **fields: str) -> str:
    world.worker(slots=99)
    task = world.submit(**fields)
    world.assign()
    world.start(task)
    world.end(task, status=status, **({"reason": "ScriptFailed", "exit_code": 1} if status == "failed" else {}))
    return task


def choose(reader: Browser, *fields: str) -> None:
    assert reader.ask("POST", "/notices", dict.fromkeys(fields, "1"))[0] == 303


def unseen(app: flask.Flask, reader: Browser) -> int:
    """The count in the menu, asked anew."""
    app.extensions["keruta_notices"]._known.clear()
    page = reader.ask("GET", "/queues")[1]
    return int(page.partition('id="unseen">')[2].partition("<")[0] or 0)


def test_nobody_is_told_of_anything_that_they_did_not_choose(world: World, app: flask.Flask, ann: Browser) -> None:
    task = ran(world)

    assert unseen(app, ann) == 0
    assert task not in ann.ask("GET", "/notices")[1]


def test_ends_of_ones_own_tasks_are_told_until_they_are_seen(world: World, app: flask.Flask, ann: Browser) -> None:
    """The last end first; what is still open is none."""
    first, second = world.submit(), ran(world, "failed")
    other = ran(world, owner="bob")
    world.submit()
    world.assign()
    world.start(first)
    world.end(first)
    choose(ann, "mine")
    page = ann.ask("GET", "/notices")[1]

    assert page.index(f"/tasks/{first}") < page.index(f"/tasks/{second}")
    assert other not in page
    assert unseen(app, ann) == 2
    ann.ask("POST", "/notices", {"do": "seen"})
    assert unseen(app, ann) == 0
    assert f"/tasks/{first}" in ann.ask("GET", "/notices")[1]
    ran(world)
    assert unseen(app, ann) == 1


def test_favourites_are_watched_where_one_chose_so(world: World, app: flask.Flask, ann: Browser) -> None:
    there, elsewhere = ran(world, owner="bob", queue="nightly"), ran(world, owner="bob")
    ann.ask("POST", "/favourites", {"do": "add", "kind": "queue", "name": "nightly", "next": "/"})
    choose(ann, "mine")
    assert there not in ann.ask("GET", "/notices")[1]
    choose(ann, "watched")
    page = ann.ask("GET", "/notices")[1]

    assert there in page
    assert elsewhere not in page
    assert unseen(app, ann) == 1


def test_failures_alone_are_told_where_one_chose_so(world: World, app: flask.Flask, ann: Browser) -> None:
    good, bad = ran(world), ran(world, "failed")
    choose(ann, "mine", "failures_only")
    page = ann.ask("GET", "/notices")[1]

    assert bad in page
    assert good not in page
    assert unseen(app, ann) == 1


def test_a_choice_is_ones_own(world: World, app: flask.Flask, ann: Browser) -> None:
    ran(world)
    choose(ann, "mine")

    assert unseen(app, signed_in(app, BOB)) == 0
    assert 'name="mine" value="1" checked' in signed_in(app, ANN).ask("GET", "/notices")[1]
    assert 'name="mine" value="1" checked' not in signed_in(app, BOB).ask("GET", "/notices")[1]


def test_nobody_is_told_of_a_task_that_they_may_not_read(world: World, app: flask.Flask, ann: Browser) -> None:
    """Neither in the list nor in the count, also of a queue that they watch."""
    eve = signed_in(app, person("eve", "viewer"))
    eve.ask("POST", "/favourites", {"do": "add", "kind": "queue", "name": "nightly", "next": "/"})
    choose(eve, "mine", "watched")
    hidden = ran(world, queue="nightly")
    world.database["tasks"].update_one({"_id": hidden}, {"$set": {"readers": ["user:zoe"], "seen_by": ["user:zoe"]}})

    assert hidden not in eve.ask("GET", "/notices")[1]
    assert unseen(app, eve) == 0


def test_notices_cost_the_same_with_any_history(world: World, ann: Browser) -> None:
    """No more of one's tasks are read than are looked at, and none of others'."""
    task = closed(world.document(world.submit(owner="bob")))
    rows = [{**task, "_id": f"{number:026d}", "status": "succeeded"} for number in range(300)]
    world.database["tasks"].insert_many(rows)
    match = {"seen_by": {"$in": [f"{reader} owner=ann" for reader in ANN.readers]}}
    stats = world.database["tasks"].find(match).sort("_id", -1).hint("seen_by").limit(200).explain()["executionStats"]

    assert stats["totalDocsExamined"] == 0


def test_a_choice_needs_a_form_of_ours(app: flask.Flask, ann: Browser) -> None:
    assert ann.client.post("/notices", data={"mine": "1"}).status_code == 403
