"""Going on from a coding agent's task: what the next task is, and who may ask for it."""

from __future__ import annotations

from typing import Any

import flask

from keruta.domain.task import SCRIPT_LIMIT_BYTES, ResultBranch, TaskView
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person

HOSTILE = "<img src=x onerror='window.stolen = 1'> [here](javascript:window.stolen=1)"


def conversation(world: World, *, pushed: str | None = "agent/one", answer: str = "I made A.", **fields: Any) -> str:
    """A task whose coding agent has ended."""
    fields = {"prompt": "Make A.", "profile": "codex", "result": ResultBranch(branch="agent/one"), **fields}
    task_id = world.submit(**fields)
    world.worker()
    world.assign()
    world.start(task_id)
    ended = {"result_branch": pushed, "result_commit": "d" * 40} if pushed else {"status": "failed", "reason": "x"}
    world.end(task_id, answer=answer, **ended)
    return task_id


def go_on(app: flask.Flask, task_id: str, prompt: str, who: Any = ANN) -> tuple[int, str]:
    return signed_in(app, who).ask("POST", f"/api/v1/tasks/{task_id}/continue", {"prompt": prompt})


def made(world: World, said: str) -> TaskView:
    return world.task(said.rpartition("/api/v1/tasks/")[2])  # the Location, which follows the body


def test_the_next_task_begins_at_the_branch_that_was_pushed(world: World, app: flask.Flask) -> None:
    """It adds to that branch, and the coding agent is told what was asked and answered."""
    task_id = conversation(world, check="make test", labels={"a": "b"})

    status, said = go_on(app, task_id, "Now B.")

    assert status == 201, said
    new = made(world, said)
    assert (new.repository.ref, new.result) == ("agent/one", ResultBranch(branch="agent/one", if_exists="update"))
    assert (new.check, new.profile, new.labels) == ("make test", "codex", {"a": "b", "continues": task_id})
    assert new.prompt is not None
    assert [new.prompt.find(text) >= 0 for text in ("Make A.", "I made A.")] == [True, True]
    assert new.prompt.endswith("Now B.")


def test_a_conversation_goes_on_and_on(world: World, app: flask.Flask) -> None:
    """The third task knows the first; what was said stands there once, and never more than a prompt may hold."""
    first = conversation(world, answer="x" * 60_000)
    for number in range(6):
        _, said = go_on(app, first, f"Step {number}." + "y" * 30_000)
        first = made(world, said).id
        world.assign()
        world.start(first)
        world.end(first, answer="z" * 60_000)

    prompt = world.task(first).prompt
    assert prompt is not None
    assert len(prompt.encode()) <= SCRIPT_LIMIT_BYTES
    assert prompt.count("Step 5.") == prompt.count("Step 4.") == 1


def test_a_task_that_pushed_nothing_is_begun_where_it_began(world: World, app: flask.Flask) -> None:
    """Its result goes where it was to go."""
    _, said = go_on(app, conversation(world, pushed=None), "Try again.")

    new = made(world, said)
    assert (new.repository.ref, new.result) == (None, ResultBranch(branch="agent/one"))


def test_who_may_not_retry_may_not_go_on(world: World, app: flask.Flask) -> None:
    """Another developer is refused, and for who may not see the task it is not there."""
    task_id = conversation(world)

    assert go_on(app, task_id, "More.", person("bob", "developer"))[0] == 403
    world.database["tasks"].update_one({"_id": task_id}, {"$set": {"readers": ["user:ann"]}})
    assert go_on(app, task_id, "More.", person("bob", "developer"))[0] == 404


def test_what_can_not_be_gone_on_from_says_why(world: World, app: flask.Flask) -> None:
    """A task that has not ended, a script, and an empty prompt."""
    task_id = conversation(world)
    waits, script = world.submit(prompt="A.", profile="codex"), world.submit()
    world.database["tasks"].update_one({"_id": script}, {"$set": {"status": "failed"}})

    assert go_on(app, waits, "More.")[0] == 409
    assert go_on(app, script, "More.")[0] == 409
    assert go_on(app, task_id, "  ")[0] == 422


def test_the_page_goes_on_and_shows_an_answer_harmlessly(world: World, app: flask.Flask) -> None:
    """The form is there for whoever may retry; markup and links of scripts in an answer do nothing."""
    task_id = conversation(world, answer=f"It is **done**.\n\n{HOSTILE}")
    ann, bob = signed_in(app, ANN), signed_in(app, person("bob", "developer"))
    address = f"/tasks/{task_id}/continue"

    page = ann.ask("GET", f"/tasks/{task_id}")[1]

    assert "<strong>done</strong>" in page
    assert "<img src=x" not in page
    assert 'href="javascript:' not in page
    assert address in page
    assert address not in bob.ask("GET", f"/tasks/{task_id}")[1]
    assert ann.ask("POST", address, {"prompt": "Now B."})[0] == 303
