"""Pages of what goes on at a repository, a queue and a worker, and people's favourites."""

from __future__ import annotations

import re

import flask
import pytest

from keruta.adapters.mongo.activity import MongoActivity
from keruta.domain.activity import Place
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.favourites import LIMIT
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, BOB, World, closed, person

URL = "https://example.com/app.git"


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url=URL))
    world.catalogs["queue"].create(ANN, QueueSpec(name="nightly", max_running=1))
    return signed_in(app, ANN)


def section(page: str, name: str) -> str:
    return page[page.index(f'id="{name}-title"') :].partition("</section>")[0]


def busy(world: World) -> dict[str, str]:
    """One task that succeeded, one that failed, one at work, and two that wait for it, all in one queue."""
    world.worker("w1", slots=4)
    made = {}
    for name, end in (("good", "succeeded"), ("bad", "failed")):
        made[name] = world.submit(name=name, queue="nightly", url=URL)
        world.assign()
        world.start(made[name])
        world.end(made[name], status=end, **({"reason": "ScriptFailed", "exit_code": 1} if end == "failed" else {}))
    for name in ("now", "next", "last"):
        made[name] = world.submit(name=name, queue="nightly", url=URL)
        world.assign()
    world.start(made["now"])
    return made


@pytest.mark.parametrize("path", ["/repositories/app/activity", "/queues/nightly/activity"])
def test_a_place_shows_what_runs_what_waits_and_why_and_what_has_ended(world: World, ann: Browser, path: str) -> None:
    """The oldest of what waits first, with the reason beside it; settings are one click away."""
    made = busy(world)
    other = world.submit(name="elsewhere")
    status, page = ann.ask("GET", path)

    assert status == 200
    assert made["now"] in section(page, "at-work")
    waiting = section(page, "waiting")
    assert waiting.index(made["next"]) < waiting.index(made["last"])
    assert waiting.count("Its queue runs at most 1 task at once") == 2
    recent = section(page, "recent")
    assert recent.index(made["bad"]) < recent.index(made["good"])
    assert "50.0 %" in page
    assert other not in page
    assert f'href="{path.removesuffix("/activity")}">Settings</a>' in page
    assert f'href="{path}">Activity</a>' in ann.ask("GET", path.removesuffix("/activity"))[1]


def test_a_workers_page_shows_its_tasks(world: World, ann: Browser) -> None:
    made = busy(world)
    world.worker("w2", slots=1)
    status, page = ann.ask("GET", "/workers/w1")

    assert status == 200
    assert made["now"] in section(page, "at-work")
    assert made["good"] in section(page, "recent")
    assert made["good"] not in ann.ask("GET", "/workers/w2")[1]
    assert 'href="/workers/w1"' in ann.ask("GET", "/workers")[1]
    assert ann.ask("GET", "/workers/nowhere")[0] == 404


def test_a_place_tells_nothing_of_what_its_reader_may_not_see(world: World, app: flask.Flask, ann: Browser) -> None:
    """Also not in counts, charts and reasons."""
    made = busy(world)
    world.database["tasks"].update_many({}, {"$set": {"readers": ["user:zoe"], "seen_by": ["user:zoe"]}})
    eve = signed_in(app, person("eve", "viewer"))
    for path in ("/repositories/app/activity", "/queues/nightly/activity", "/workers/w1"):
        page = eve.ask("GET", path)[1]
        assert not [name for name, task in made.items() if task in page], path
        assert "50.0 %" not in page
        assert re.search(r"<strong>0</strong>at work", page)


def test_charts_of_a_place_are_in_the_readers_zone(world: World, ann: Browser) -> None:
    ann.client.set_cookie("keruta-zone", "Asia/Kathmandu")

    assert "in the time zone Asia/Kathmandu" in ann.ask("GET", "/queues/nightly/activity")[1]


def test_a_place_costs_the_same_with_any_history(world: World) -> None:
    """Its queries read what they show and no more of the thousands of tasks beside it."""
    task = closed(world.document(world.submit(queue="default", url=URL, name="one")))
    rows = [{**task, "_id": f"{number:026d}", "status": "succeeded"} for number in range(300)]
    world.database["tasks"].insert_many(rows)
    facet = {"$in": [f"{reader} queue=nightly" for reader in ANN.readers]}
    stats = world.database["tasks"].find({"seen_by": facet}).hint("seen_by").explain()["executionStats"]

    assert stats["totalDocsExamined"] == 0
    found = MongoActivity(world.database).of(ANN, Place(kind="queue", name="nightly"))
    assert (found.recent, found.waiting, found.at_work) == ([], [], [])


def test_the_tasks_that_ended_last_are_found_among_few(world: World) -> None:
    """Few documents are read among thousands of tasks, also if the newest ones still wait."""
    world.worker("w1", slots=1)
    task = world.submit(url=URL, name="one")
    world.assign()
    world.start(task)
    world.end(task)
    model = closed(world.document(task))
    tasks = world.database["tasks"]
    tasks.delete_one({"_id": task})
    tasks.insert_many([{**model, "_id": f"{number:026d}"} for number in range(2500)])
    tasks.insert_many([{**model, "_id": f"{number:026d}", "status": "assigned"} for number in range(2500, 2700)])
    places = [Place(kind="queue", name="default"), Place(kind="worker", name="w1")]
    activity = MongoActivity(world.database)
    first = [activity.of(ANN, place) for place in places]  # the charts are remembered from now on

    before = scanned(world)
    found = [activity.of(ANN, place) for place in places]

    assert [[task.id for task in one.recent] for one in (*first, *found)] == 4 * [
        [f"{number:026d}" for number in range(2499, 2489, -1)]
    ]
    assert scanned(world) - before < 2 * 500


def test_the_tasks_that_ended_last_are_looked_for_among_the_newest(world: World) -> None:
    """Not through all that anyone ever submitted there."""
    model = closed(world.document(world.submit(url=URL, name="one")))
    rows = [{**model, "_id": f"{number:026d}"} for number in range(2100)]
    world.database["tasks"].insert_many([{**rows[0], "status": "succeeded"}, *rows[1:]])
    before = scanned(world)

    assert MongoActivity(world.database).of(ANN, Place(kind="queue", name="default")).recent == []
    assert scanned(world) - before < 3 * 2000 + 100


def scanned(world: World) -> int:
    """Return the number of documents that mongod has read."""
    return int(world.database.client.admin.command("serverStatus")["metrics"]["queryExecutor"]["scannedObjects"])


# ---------------------------------------------------------------- favourites


def star(reader: Browser, do: str, kind: str, name: str) -> int:
    form = {"do": do, "kind": kind, "name": name, "next": "/"}
    return reader.ask("POST", "/favourites", form)[0]


def test_a_favourite_stands_in_ones_own_menu(world: World, app: flask.Flask, ann: Browser) -> None:
    """On every page and in every browser of theirs, and in nobody else's; taken away again, it is gone."""
    assert star(ann, "add", "repository", "app") == 303
    assert star(ann, "add", "repository", "app") == 303
    elsewhere, bob = signed_in(app, ANN), signed_in(app, BOB)

    assert elsewhere.ask("GET", "/tasks")[1].count('href="/repositories/app/activity"') == 1
    assert 'aria-pressed="true"' in ann.ask("GET", "/repositories/app/activity")[1]
    assert "/repositories/app/activity" not in bob.ask("GET", "/tasks")[1]
    star(ann, "remove", "repository", "app")
    assert "/repositories/app/activity" not in ann.ask("GET", "/tasks")[1]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("person", "ann"), ("repository", "../x"), ("worker", "a b"), ("queue", ""), ("worker", "<script>"), ("", "app"),
     ("repository", "$set")],
)  # fmt: skip
def test_what_can_be_no_favourite_is_refused(ann: Browser, kind: str, name: str) -> None:
    assert star(ann, "add", kind, name) == 422


def test_favourites_are_bounded(world: World, ann: Browser) -> None:
    """The oldest go."""
    for number in range(LIMIT + 5):
        star(ann, "add", "queue", f"q{number}")

    entries = world.database["favourites"].find_one({"_id": "ann"})["entries"]  # type: ignore[index]
    assert [entries[0]["name"], len(entries)] == ["q5", LIMIT]


def test_a_favourite_needs_a_form_of_ours(app: flask.Flask, ann: Browser) -> None:
    answer = ann.client.post("/favourites", data={"do": "add", "kind": "queue", "name": "default"})

    assert answer.status_code == 403
