"""Workers in a cluster that go: what they had is another's, and nobody else's is touched."""

from __future__ import annotations

import pytest

from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import Held, Registration
from keruta.ports import Sender
from tests.support.world import World


def worker(world: World, name: str, runner: str = "kubernetes", slots: int = 2) -> None:
    registration = Registration(slots=slots, boot=new_id(), runner=runner)  # type: ignore[arg-type]
    world.sessions[name] = world.reports.store.register(name, registration)


def silent(world: World, name: str, seconds: int = 20) -> None:
    """As if nothing had been heard of it for so long: longer than half a lease."""
    ago = {"$subtract": ["$$NOW", seconds * 1000]}
    world.database["workers"].update_one({"_id": name}, [{"$set": {"seen_at": ago}}])


def holder(world: World, task_id: str) -> str | None:
    found: str | None = world.document(task_id).get("holder")
    return found


def started_by_one_that_is_gone(world: World) -> str:
    """Start a task at a worker that then falls silent, beside another that could take it over; return its id."""
    worker(world, "gone")
    task_id = world.submit()
    world.assign()
    world.start(task_id, "gone")
    worker(world, "heir")
    silent(world, "gone")
    return task_id


def test_what_a_silent_worker_had_is_handed_over(world: World) -> None:
    """Before its lease runs out: the Job goes on, and its end is told by the heir."""
    task_id = started_by_one_that_is_gone(world)

    world.tick()

    assert holder(world, task_id) == "heir"
    assert [one.task for one in world.assigned("heir")] == [task_id]
    assert world.end(task_id, "heir").accepted
    assert world.task(task_id).attempts[0].worker == "heir"


def test_a_worker_that_leaves_hands_over_at_the_next_tick(world: World) -> None:
    """And is given nothing more."""
    worker(world, "leaving")
    task_id = world.submit()
    world.assign()
    worker(world, "heir", slots=1)
    world.reports.store.leave(Sender(worker="leaving", session=world.sessions["leaving"]))
    waiting = [world.submit() for _ in range(2)]

    world.tick()
    world.assign()

    assert holder(world, task_id) == "heir"
    assert [holder(world, one) for one in waiting] == [None, None]


def test_without_an_heir_nothing_is_handed_over(world: World) -> None:
    """When keruta hears of nobody, it is not the workers that are gone."""
    worker(world, "one")
    worker(world, "two")
    task_id = world.submit()
    world.assign()
    had = holder(world, task_id)
    silent(world, "one")
    silent(world, "two")

    world.tick()

    assert holder(world, task_id) == had


def test_processes_of_a_machine_are_not_handed_over(world: World) -> None:
    """They are that machine's alone."""
    worker(world, "machine", "process")
    task_id = world.submit()
    world.assign()
    worker(world, "cluster")
    silent(world, "machine")

    world.tick()

    assert holder(world, task_id) == "machine"


def test_what_was_given_up_is_brought_back_by_who_has_it_now(world: World) -> None:
    """The heir and the attempt's own agent; not the worker that had it, nor one that never did."""
    task_id = started_by_one_that_is_gone(world)
    world.tick()
    held = Held(task=task_id, attempt=1, execution="x1")
    found = []

    for sender in ("gone", "stranger", "heir"):
        worker(world, sender)
        world.lease_runs_out(task_id)
        world.tick()
        assert world.task(task_id).status == "unknown"
        silent(world, sender, 2)
        world.report(sender, held=[held])
        found.append(str(world.task(task_id).status))

    assert found == ["unknown", "unknown", "running"]


@pytest.mark.parametrize("renew", [True, False])
def test_what_is_only_known_keeps_no_lease(world: World, renew: bool) -> None:
    """A started attempt's agent vouches for it; a worker that only watches does not."""
    worker(world, "w1")
    task_id = world.submit()
    world.assign()
    world.start(task_id)
    before = world.document(task_id)["lease_until"]
    world.database["tasks"].update_one(
        {"_id": task_id}, [{"$set": {"lease_until": {"$subtract": ["$lease_until", 9000]}}}]
    )
    world.database["workers"].update_one({"_id": "w1"}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 5000]}}}])

    world.report("w1", held=[Held(task=task_id, attempt=1, execution="x1", renew=renew)])

    assert (world.document(task_id)["lease_until"] >= before) is renew


def test_which_attempts_are_over(world: World) -> None:
    """Attempts without a task, ended ones, and those replaced by another attempt."""
    worker(world, "w1")
    running, ended = world.submit(), world.submit()
    world.assign()
    world.start(running)
    world.start(ended)
    world.end(ended)
    names = [attempt_id(running, 1), attempt_id(running, 2), attempt_id(ended, 1), attempt_id("0" * 26, 1)]

    assert world.reports.store.over(names) == names[1:]
