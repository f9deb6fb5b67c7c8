"""Going on from a coding agent's task: what the next task is, and who may ask for it."""

from __future__ import annotations

from typing import Any

import flask

from keruta.domain.specification import Granted, Specification
from keruta.domain.task import SCRIPT_LIMIT_BYTES, ResultBranch, TaskView
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person

HOSTILE = "<img src=x onerror='window.stolen = 1'> [here](javascript:window.stolen=1)"


def conversation(
    world: World, *, pushed: str | None = "agent/one", answer: str = "I made A.", granted: Granted | None = None,
    **fields: Any,
) -> str:  # fmt: skip
    """A task whose coding agent has ended."""
    fields = {"prompt": "Make A.", "profile": "codex", "result": ResultBranch(branch="agent/one"), **fields}
    task_id = world.submit(**fields)
    world.worker()
    world.assign()
    world.start(task_id)
    ended = {"result_branch": pushed, "result_commit": "d" * 40} if pushed else {"status": "failed", "reason": "x"}
    world.end(task_id, answer=answer, granted=granted, **ended)
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


def specification(world: World, said: str) -> Specification:
    task_id = made(world, said).id
    world.assign()
    found = next(one.specification for one in world.assigned("w1") if one.task == task_id)
    assert found is not None
    return found


def test_the_submitter_goes_on_with_the_session(world: World, app: flask.Flask) -> None:
    """The session gets the new words alone; the text of what was said is there for when it is not kept any more."""
    task_id = conversation(world, granted=Granted())

    found = specification(world, go_on(app, task_id, "Now B.")[1])

    assert found.resume is not None
    assert (found.resume.task, found.resume.attempt, found.resume.answers) == (task_id, 1, ["Now B."])
    assert "Make A." in (found.prompt or "")
    assert found.repository.ref == "agent/one"


def test_somebody_else_gets_the_text_and_never_the_session(world: World, app: flask.Flask) -> None:
    """Though they may retry the task."""
    task_id = conversation(world, granted=Granted())
    admin = person("eve", "admin", "developer")

    found = specification(world, go_on(app, task_id, "Now B.", admin)[1])

    assert found.resume is None
    assert "Make A." in (found.prompt or "")


def test_nobody_takes_a_session_by_a_label_or_a_document(world: World, app: flask.Flask) -> None:
    """Another owner's task in the stored field gives nothing either."""
    mine = conversation(world, granted=Granted())
    other = world.submit(owner="bob", prompt="Show it.", profile="codex", labels={"continues": mine})
    world.database["tasks"].update_one(
        {"_id": other}, {"$set": {"spec.session": {"task": mine, "attempt": 1, "prompt": "Show it."}}}
    )
    world.assign()

    (found,) = (one.specification for one in world.assigned("w1") if one.task == other)

    assert found is not None
    assert found.resume is None


def test_no_stored_session_no_session(world: World, app: flask.Flask) -> None:
    """Nor where the profile's model has another key by now; then the text is told."""
    without = specification(world, go_on(app, conversation(world), "Now B.")[1])
    other = specification(world, go_on(app, conversation(world, granted=Granted(model="old")), "Now B.")[1])

    assert without.resume is None
    assert other.resume is None


def test_the_next_task_has_no_access_that_the_session_lacked(world: World, app: flask.Flask) -> None:
    task_id = conversation(world, granted=Granted(network="closed", fetch_more=False))

    found = specification(world, go_on(app, task_id, "Now B.")[1])

    assert (found.placement.network, found.fetch_more) == ("closed", False)
