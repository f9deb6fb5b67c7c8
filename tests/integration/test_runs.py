"""Other runs of the same task, and what waits for its reader: found by indexes, only what they may see or decide."""

from __future__ import annotations

import re
from typing import Any

import flask

from keruta.adapters.mongo.task_queries import NEEDS_PEOPLE
from keruta.domain.reports import Waiting
from keruta.domain.same_runs import same_facet
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person


def test_the_page_shows_the_runs_around_a_task_and_since_when_they_fail(world: World, app: flask.Flask) -> None:
    world.worker()
    made = []
    for outcome in ("succeeded", "failed", "failed"):
        made.append(world.submit(name="nightly", script="make"))
        world.assign()
        world.start(made[-1])
        fields: dict[str, Any] = (
            {"status": "failed", "reason": "ScriptFailed", "exit_code": 1} if outcome == "failed" else {}
        )
        world.end(made[-1], **fields)
    other = world.submit(name="nightly", script="make other")
    page = signed_in(app, ANN).ask("GET", f"/tasks/{made[2]}")[1]

    section = page[page.index('<section id="runs"') :].partition("</section>")[0]
    assert re.findall(r'<li data-key="([0-9a-z]+)">', section) == made
    assert "2 runs in a row" in section
    assert f'<a href="/tasks/{made[0]}">The last success</a>' in section
    assert other not in section
    assert 'id="runs"' not in signed_in(app, ANN).ask("GET", f"/tasks/{other}")[1]


def test_runs_are_found_by_the_index_alone(world: World) -> None:
    """The newest of thousands of tasks: as many keys are read as runs are shown, and no more documents."""
    world.submit(name="nightly", script="make")
    facet = same_facet(
        trigger=None, repository="https://example.com/a.git", name="nightly", script="make", command=None, prompt=None
    )
    for _ in range(30):
        world.submit(name="other", script="make other")
    match = {"seen_by": {"$in": [f"{reader} {facet}" for reader in ANN.readers]}}
    cursor = world.database["tasks"].find(match).sort("_id", -1).hint("seen_by").limit(25)
    stats = cursor.explain()["executionStats"]

    assert (stats["nReturned"], stats["totalDocsExamined"]) == (1, 1)
    assert stats["totalKeysExamined"] <= 1 + len(ANN.readers) + 1


def waits(world: World, **fields: Any) -> str:
    """A task that asks something."""
    task = world.submit(**fields)
    world.worker(slots=9)
    world.assign()
    world.start(task)
    world.report("w1", Waiting(task=task, attempt=1, execution="x1", question="Which?"))
    assert world.task(task).status == "waiting"
    return task


def test_what_waits_for_a_person_is_listed_and_counted_on_every_page(world: World, app: flask.Flask) -> None:
    """For those who may decide it, and for nobody else."""
    asking = waits(world, name="asks <b>you</b>")
    ann, eve = signed_in(app, ANN), signed_in(app, person("eve", "viewer"))
    page = ann.ask("GET", "/needs-you")[1]

    assert f'href="/tasks/{asking}"' in page
    assert "asks &lt;b&gt;you&lt;/b&gt;" in page
    assert "<title>(1) " in ann.ask("GET", "/tasks")[1]
    assert "1 thing waits" in page
    assert asking not in eve.ask("GET", "/needs-you")[1]
    assert "<title>(" not in eve.ask("GET", "/tasks")[1]


def test_what_waits_is_found_by_an_index_within_a_bound(world: World) -> None:
    waits(world)
    for _ in range(30):
        world.submit()
    match = {"readers": {"$in": ANN.readers}, "status": {"$in": NEEDS_PEOPLE}}
    stats = world.database["tasks"].find(match).hint("readers_status").limit(500).explain()["executionStats"]

    assert (stats["nReturned"], stats["totalDocsExamined"]) == (1, 1)
    assert stats["totalKeysExamined"] <= 40
    held = world.database["deliveries"].find({"state": "held", "_id": {"$gt": ""}}).sort("_id", -1).hint("held")
    assert held.explain()["executionStats"]["totalDocsExamined"] == 0
