"""Suspended tasks on the real database: their slot, their answer, their end, and what the resuming attempt gets."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keruta.adapters.mongo.metrics import Figures
from keruta.adapters.mongo.snapshots import PART_BYTES, SNAPSHOT_LIMIT_BYTES, MongoSnapshots
from keruta.domain.lifecycle import LEASED
from keruta.domain.principal import Sender
from keruta.domain.reports import Held, Outcome, Report, Suspended, Waiting
from keruta.domain.specification import Granted
from keruta.domain.task_list import TaskFilter
from keruta.errors import Conflict, InvalidRequest, TooLarge
from keruta.services.reports import take_report
from keruta.services.task_commands import cancel, retry, send_input
from tests.support.world import ANN, World

COMMIT = "c" * 40


def waiting(world: World, **more: Any) -> str:
    """A task whose coding agent asks, and which has the only slot."""
    task = world.submit(prompt="Do it.", profile="claude-code", **more)
    world.worker(slots=1)
    assert world.assign() == 1
    world.start(task)
    number = world.document(task)["attempt_count"]
    world.report("w1", Waiting(task=task, attempt=number, execution="x1", question="Which?"))
    return task


def suspend(world: World, task: str, **more: Any) -> Outcome:
    number = world.document(task)["attempt_count"]
    fields = {"question": "Which?", "commit": COMMIT, "granted": Granted(), **more}
    return world.report("w1", Suspended(task=task, attempt=number, execution="x1", **fields))[0]


def test_a_suspended_task_gives_its_slot_back_and_goes_on_when_answered(world: World) -> None:
    """Another task runs meanwhile; each change is on record, told by an event, and says what the task waits for."""
    task = waiting(world, retry={"policy": "never", "max_attempts": 1})
    other = world.submit()
    assert world.assign() == 0
    entry = Suspended(task=task, attempt=1, execution="x1", question="Which?", commit=COMMIT, granted=Granted())
    sender = Sender(worker="w1", session=world.sessions["w1"])

    answer = take_report(world.reports, sender, Report(entries=[entry]))

    assert answer.outcomes[0].accepted
    assert [one.task for one in answer.assigned] == [other]  # in the same answer: the slot is free
    found = world.task(task)
    assert (found.status, found.question) == ("suspended", "Which?")
    assert found.waiting is not None
    assert found.waiting.message_code == "waiting_suspended"
    assert found.answer_until is not None
    assert found.answer_until - datetime.now(UTC) > timedelta(days=13)
    assert found.attempts[0].outcome == "suspended"
    assert not {"lease_until", "holder"} & set(world.document(task))

    send_input(world.commands, ANN, task, "The second")
    world.worker("w2")
    assert world.assign() == 1

    (assigned,) = world.assigned("w2")
    specification = assigned.specification
    assert specification is not None
    assert specification.resume is not None
    assert (specification.resume.attempt, specification.resume.question) == (1, "Which?")
    assert specification.resume.answers == ["The second"]
    assert specification.repository.ref == COMMIT
    assert assigned.input == []
    found = world.task(task)
    assert [one.status for one in found.history][-4:] == ["waiting", "suspended", "queued", "assigned"]
    assert (found.attempts[-1].resumes, found.answer_until) == (1, None)
    types = [event.type for sent, event in world.outbox.sent if sent == task]
    assert "dev.keruta.task.suspended.v1" in types
    number = found.attempts[-1].number
    world.report("w2", *[])
    assert world.start(task, "w2", "x2").accepted
    assert world.end(task, "w2", "x2").accepted
    assert (world.task(task).status, number) == ("succeeded", 2)


@pytest.mark.parametrize("acknowledged", [0, 1])
def test_what_a_person_sent_meanwhile_is_not_lost(world: World, acknowledged: int) -> None:
    """The coding agent gets it first, or, where that has ended, the next attempt does."""
    task = waiting(world)
    send_input(world.commands, ANN, task, "First")
    if acknowledged:
        send_input(world.commands, ANN, task, "Second")

    assert suspend(world, task, input_acknowledged=acknowledged).reason == "InputPending"
    assert suspend(world, task, input_acknowledged=acknowledged, over=True).accepted

    assert world.task(task).status == "queued"
    assert world.assign() == 1
    (assigned,) = world.assigned("w1")
    assert assigned.specification is not None
    assert assigned.specification.resume is not None
    assert assigned.specification.resume.answers == (["Second"] if acknowledged else ["First"])


def test_a_report_again_is_a_repeat_until_the_answer(world: World) -> None:
    """After it the attempt is no longer the current one."""
    task = waiting(world)
    assert suspend(world, task).accepted
    again = suspend(world, task)
    send_input(world.commands, ANN, task, "Yes")

    assert (again.accepted, again.repeat) == (True, True)
    entry = Suspended(task=task, attempt=1, execution="x1")
    assert world.report("w1", entry)[0].reason == "StaleAttempt"


def test_a_suspended_task_is_cancelled_at_once_and_answered_no_more(world: World) -> None:
    task = waiting(world)
    suspend(world, task)

    cancel(world.commands, ANN, task)

    found = world.task(task)
    assert (found.status, found.reason, found.question, found.answer_until) == ("cancelled", "Cancelled", None, None)
    with pytest.raises(Conflict):
        send_input(world.commands, ANN, task, "Yes")
    retry(world.commands, ANN, task)
    world.assign()
    (assigned,) = world.assigned("w1")
    assert assigned.specification is not None
    assert assigned.specification.resume is None  # a person's retry begins anew


def test_a_task_that_nobody_answers_fails_after_its_time(world: World) -> None:
    """Not before, whatever its lease says; and its worker's heartbeats do not bring it back."""
    task = waiting(world)
    suspend(world, task)
    world.at_work_for_long()
    assert world.tick() == 0
    held = Held(task=task, attempt=1, execution="x1")
    world.report("w1", held=[held])
    assert world.task(task).status == "suspended"
    past = {"$subtract": ["$$NOW", 1000]}
    world.database["tasks"].update_one({"_id": task}, [{"$set": {"answer_until": past}}])

    assert world.tick() == 1

    found = world.task(task)
    assert (found.status, found.reason, found.message_code) == ("failed", "AnswerTimedOut", "answer_timed_out")
    assert (found.question, found.answer_until) == (None, None)
    assert found.ended_at is not None


def profile(world: World, **fields: Any) -> None:
    change = {f"spec.{name}": value for name, value in fields.items()}
    world.database["profiles"].update_one({"_id": "claude-code"}, {"$set": change, "$inc": {"revision": 1}})


def credential(world: World, name: str) -> None:
    spec = {
        "name": name,
        "type": "secret",
        "kubernetes_secret": f"keruta-job-{name}",
        "hosts": ["example.com", "api.anthropic.com"],
    }
    world.database["credentials"].insert_one({"_id": name, "spec": spec, "revision": 1, "readers": ["everyone"]})


def test_a_resumed_attempt_gets_no_secret_and_no_network_that_the_first_lacked(world: World) -> None:
    """Whatever was added to its profile meanwhile; what the first had stays."""
    for name in ("old", "new"):
        credential(world, name)
    task = waiting(world)
    granted = Granted(secrets={"A": "old", "B": "old"}, network="closed", fetch_more=False)
    suspend(world, task, granted=granted)
    profile(world, secrets={"A": "old", "B": "new", "C": "new"}, network="open")
    send_input(world.commands, ANN, task, "Yes")
    world.assign()

    (assigned,) = world.assigned("w1")

    found = assigned.specification
    assert found is not None
    assert found.fault is None
    assert {name: one.name for name, one in found.secrets.items()} == {"A": "old"}
    assert (found.placement.network, found.fetch_more) == ("closed", False)


@pytest.mark.parametrize(("before", "now"), [(None, "new"), ("old", "new"), ("old", None)])
def test_a_session_goes_on_with_its_own_key_only(world: World, before: str | None, now: str | None) -> None:
    """Another model's key would be a secret that the first attempt lacked: the task says so and does not run."""
    credential(world, "new")
    task = waiting(world)
    suspend(world, task, granted=Granted(model=before))
    profile(world, model_credential=now)
    send_input(world.commands, ANN, task, "Yes")
    world.assign()

    (assigned,) = world.assigned("w1")

    assert assigned.specification is not None
    assert assigned.specification.fault is not None
    assert assigned.specification.fault.message_code == "session_other_credential"


def test_a_suspended_task_counts_as_open_and_as_nobodys(world: World) -> None:
    """In lists it is open; no limit and no slot counts it."""
    task = waiting(world)
    suspend(world, task)

    page = world.reading.page(ANN, TaskFilter(status="suspended"), limit=5, cursor=None)
    assert [one.id for one in page.items] == [task]
    assert [one.id for one in world.reading.page(ANN, TaskFilter(status="open"), limit=5, cursor=None).items] == [task]
    assert world.store.running([]) == {}
    (family,) = (one for one in Figures(world.database, 30).collect() if one.name == "keruta_tasks")
    counts = {sample.labels["status"]: sample.value for sample in family.samples}
    assert (counts["suspended"], counts["waiting"]) == (1, 0)
    assert "suspended" not in LEASED


# ---------------------------------------------------------------- stored sessions


def test_a_snapshot_is_stored_whole_or_not_at_all(world: World) -> None:
    """What is cut short, or too large, leaves what was there; a new one takes its place, and leaves no part behind."""
    snapshots = MongoSnapshots(world.database, 60)
    first = bytes(range(256)) * (PART_BYTES // 256) + b"end"
    snapshots.store("t-1", io.BytesIO(first), len(first))

    with pytest.raises(InvalidRequest):
        snapshots.store("t-1", io.BytesIO(b"short"), 6)
    with pytest.raises(TooLarge):
        snapshots.store("t-1", io.BytesIO(b""), SNAPSHOT_LIMIT_BYTES + 1)
    found = snapshots.read("t-1")
    assert found is not None
    assert b"".join(found) == first
    snapshots.store("t-1", io.BytesIO(b"second"), 6)
    found = snapshots.read("t-1")
    assert found is not None
    assert b"".join(found) == b"second"
    assert snapshots.read("t-2") is None
    rows = list(world.database["snapshots"].find({"number": {"$gte": 1}}))
    assert not rows
    assert all("expires_at" in row for row in world.database["snapshots"].find())
