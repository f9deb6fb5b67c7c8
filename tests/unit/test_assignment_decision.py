"""The decision that assigns a task to a worker, as planned."""

from __future__ import annotations

import pytest

from keruta.domain.decisions.assignment import on_assign
from keruta.domain.decisions.values import Standing
from keruta.domain.lifecycle import Status
from keruta.domain.task import RetryPolicy
from tests.support.memory import LANE
from tests.support.memory_world import LEASE_SECONDS, MemoryWorld


def test_it_has_a_new_attempt_of_its_own_worker_under_a_lease() -> None:
    """With the next number; it is claimed no more, and the event speaks of the new attempt."""
    world = MemoryWorld()
    task = world.add(attempt_count=2, push={"attempt": 1})

    made = world.tasks.write(task, on_assign("w1", LEASE_SECONDS))

    assert made is not None
    assert made.event is not None
    assert made.event.data == {"task": task, "status": "assigned", "attempt": 3}
    document = world.document(task)
    assert document["attempt"] == {
        "number": 3, "id": f"{task}-3", "worker": "w1", "execution": None, "assigned_at": world.clock.now, "pushes": 1,
    }  # fmt: skip
    assert (document["status"], document["holder"], document["attempt_count"]) == ("assigned", "w1", 3)
    assert (document["lease_until"] - world.clock.now).total_seconds() == LEASE_SECONDS
    assert "claim" not in document


@pytest.mark.parametrize("case", ["it waits for a time", "its cancellation is asked for", "it has a worker"])
def test_only_what_may_be_claimed_is_assigned(case: str) -> None:
    """Nothing is written otherwise, and the plan is made anew."""
    world = MemoryWorld()
    task = world.add(Status.ASSIGNED if case == "it has a worker" else Status.QUEUED, claim=LANE)
    if case == "it waits for a time":
        del world.tasks.documents[task]["claim"]
    elif case == "its cancellation is asked for":
        world.tasks.documents[task]["cancel_requested_at"] = world.clock.now
    before = world.document(task)

    assert world.tasks.write(task, on_assign("w2", LEASE_SECONDS)) is None
    assert world.document(task) == before


def test_a_task_in_the_queue_has_the_policy_that_it_asked_for() -> None:
    """Only an attempt that pushes may always be made again."""
    assert Standing(id="t", status=Status.QUEUED, retry=RetryPolicy(policy="never")).policy == "never"
