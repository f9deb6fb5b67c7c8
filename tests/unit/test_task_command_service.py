"""People's commands about tasks: what is written, who is nudged, what is put on record."""

from __future__ import annotations

import pytest

from keruta.domain.catalog.access import Access
from keruta.domain.lifecycle import LEASED, Status
from keruta.domain.task import PushRequest
from keruta.errors import Conflict, Forbidden, NotFound
from keruta.services import task_commands
from keruta.services.changes import TRIES, TaskMovedError
from tests.support.memory_world import ANN, BOB, MemoryWorld


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


@pytest.mark.parametrize("status", sorted(LEASED))
def test_a_running_task_is_cancelled_by_its_agent_which_is_nudged(world: MemoryWorld, status: Status) -> None:
    """The wish is on record, the status stays, no event is sent."""
    task = world.add(Status(status))

    task_commands.cancel(world.commands, ANN, task)

    assert world.status(task) == status
    assert world.document(task)["cancel_requested_at"] == world.clock.now
    assert world.nudges.nudged == [("w1", [task])]
    assert world.events() == []


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUSPENDED, Status.UNKNOWN])
def test_what_does_not_run_is_cancelled_at_once(world: MemoryWorld, status: Status) -> None:
    """Nobody is nudged, the event goes out, and the end is traced."""
    task = world.add(status)

    task_commands.cancel(world.commands, ANN, task)

    assert world.status(task) == "cancelled"
    assert world.nudges.nudged == []
    assert world.events() == ["cancelled"]
    assert world.tracing.ended_ids == [task]


def test_a_command_is_put_on_record_with_the_readers_of_its_task(world: MemoryWorld) -> None:
    """Those who may see the task may see what was done to it."""
    task_commands.accept(world.commands, ANN, world.add(Status.UNKNOWN))
    task_commands.retry(world.commands, ANN, world.add(Status.FAILED, "f"))

    assert [(one[0], one[1], one[2]) for one in world.audit.recorded] == [
        ("Ann", "accept", "task"),
        ("Ann", "retry", "task"),
    ]
    assert world.audit.recorded[0][4] == ["user:ann", "role:viewer"]
    assert world.events() == ["succeeded", "queued"]


@pytest.mark.parametrize("entry", ["queue:default", "repository:app"])
def test_who_may_run_no_more_makes_no_other_attempt(world: MemoryWorld, entry: str) -> None:
    """Of the tasks that they submitted themselves; who manages what the task is on, does."""
    named = ["queue:default", "repository:app", "profile:shell"]
    task = world.add(Status.FAILED, named=named)
    kept = world.add(Status.FAILED, "k", named=named, work_kept_by=1)
    managed = world.add(Status.FAILED, "m", named=named, managers=["user:ann", f"name:{ANN.name}"])
    world.tasks.access = {entry: Access(run=["name:somebody"], read=["user:ann"]), "profile:shell": Access()}

    for refused in (
        lambda: task_commands.retry(world.commands, ANN, task),
        lambda: task_commands.push(world.commands, ANN, kept, PushRequest()),
    ):
        with pytest.raises(Forbidden) as caught:
            refused()
        assert caught.value.reason == "GrantMissing"
    task_commands.retry(world.commands, ANN, managed)
    world.tasks.access[entry] = Access(run=["user:ann"])
    task_commands.retry(world.commands, ANN, task)
    task_commands.push(world.commands, ANN, kept, PushRequest())

    assert [world.status(one) for one in (task, kept, managed)] == ["queued"] * 3


def test_input_is_sent_and_its_worker_nudged(world: MemoryWorld) -> None:
    """Numbered from 1."""
    task = world.add(Status.WAITING)

    task_commands.send_input(world.commands, ANN, task, "a")
    task_commands.send_input(world.commands, ANN, task, "b")

    assert [(one["number"], one["text"]) for one in world.document(task)["input"]] == [(1, "a"), (2, "b")]
    assert world.nudges.nudged == [("w1", [task]), ("w1", [task])]


def test_a_worker_that_is_gone_is_not_nudged(world: MemoryWorld) -> None:
    """The wish is on record all the same."""
    task = world.add(Status.RUNNING, worker="gone")

    task_commands.cancel(world.commands, ANN, task)

    assert world.document(task)["cancel_requested_at"] is not None
    assert world.nudges.nudged == []


def test_what_may_not_be_seen_is_not_there_and_what_may_not_be_managed_is_refused(world: MemoryWorld) -> None:
    """Nothing is written or put on record."""
    task = world.add(Status.RUNNING)
    hidden = world.add(Status.RUNNING, "h", readers=["user:ann"])

    for who, which, error in ((BOB, task, Forbidden), (BOB, hidden, NotFound), (ANN, "0" * 26, NotFound)):
        with pytest.raises(error):
            task_commands.cancel(world.commands, who, which)

    assert world.document(task).get("cancel_requested_at") is None
    assert world.audit.recorded == []


def test_a_command_in_a_wrong_status_is_refused(world: MemoryWorld) -> None:
    """And nothing is put on record."""
    with pytest.raises(Conflict):
        task_commands.retry(world.commands, ANN, world.add(Status.RUNNING))

    assert world.audit.recorded == []


def test_a_task_that_moves_meanwhile_is_decided_about_anew(world: MemoryWorld) -> None:
    """A cancellation of a queued task that has just been assigned is its agent's to carry out."""
    task = world.add(Status.QUEUED)
    world.tasks.before_write.append(lambda: world.add(Status.ASSIGNED))

    task_commands.cancel(world.commands, ANN, task)

    assert world.status(task) == "assigned"
    assert world.document(task)["cancel_requested_at"] is not None


def test_a_task_that_keeps_moving_is_given_up(world: MemoryWorld) -> None:
    """After ten tries; the caller hears that it may try again."""
    task = world.add(Status.QUEUED)
    other = [Status.ASSIGNED, Status.QUEUED] * TRIES
    world.tasks.before_write += [lambda status=status: world.add(status) for status in other]

    with pytest.raises(TaskMovedError) as raised:
        task_commands.cancel(world.commands, ANN, task)

    assert raised.value.message.code == "task_moved"
    assert world.tasks.reads == TRIES
    assert world.audit.recorded == []


def test_tasks_that_need_what_was_deleted_fail(world: MemoryWorld) -> None:
    """Only those that are queued and need it; the answer is how many."""
    task, other = world.add(), world.add(letter="v", draws_on=["queue:other"])
    started = world.add(Status.ASSIGNED, "a")

    count = task_commands.refuse_queued(world.commands, ANN, "queue", "default")

    assert count == 1
    assert world.document(task)["reason"] == "ResourceDeleted"
    assert [world.status(one) for one in (task, other, started)] == ["failed", "queued", "assigned"]
    assert world.events() == ["failed"]


def test_a_task_that_no_longer_needs_it_is_not_counted(world: MemoryWorld) -> None:
    """The task was assigned between the search and the write."""
    world.add()
    world.tasks.before_write.append(lambda: world.add(Status.ASSIGNED))

    assert task_commands.refuse_queued(world.commands, ANN, "queue", "default") == 0
    assert world.events() == []
