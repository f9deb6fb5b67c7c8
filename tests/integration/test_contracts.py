"""The fakes behave as the real parts do: the same tests for both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keruta.domain.scheduling import Candidate, Choice, Lane
from keruta.domain.task import RepositoryAsk, TaskRequest
from keruta.ports import AssignmentStore, PlanOutdated
from keruta.services.scheduler import assign
from keruta.testing import MemoryAssignment, RecordedNudges, RecordedOutbox
from tests.support.world import World

URL = "https://example.com/a.git"
Made = tuple[AssignmentStore, list[str]]


@pytest.fixture(params=["in memory", "on MongoDB"])
def store(request: pytest.FixtureRequest) -> Callable[[int, int], Made]:
    """Makes a store with so many slots on one worker and so many tasks that wait, the most urgent first."""

    def in_memory(slots: int, tasks: int) -> Made:
        ids = [f"{number:026}" for number in range(tasks)]
        lane = Lane(queue="default", submitter="ann", repository=URL, profile="shell")
        waiting = [Candidate(rank=number - tasks, id=task_id) for number, task_id in enumerate(ids)]
        return MemoryAssignment({"w1": slots}, {lane: waiting} if waiting else {}), ids

    def on_mongodb(slots: int, tasks: int) -> Made:
        world: World = request.getfixturevalue("world")
        ids = []
        for number in range(tasks):
            asked = TaskRequest(repository=RepositoryAsk(url=URL), script="true", priority=tasks - number)
            ids.append(world.intake.accept(world.new_task(asked), None).task.id)
        world.worker("w1", slots=slots)
        return world.store, ids

    return in_memory if request.param == "in memory" else on_mongodb


def test_one_assigner_at_a_time(store: Callable[[int, int], Made]) -> None:
    made, _ = store(1, 1)

    first = made.take_assigner()
    assert first is not None
    assert made.take_assigner() is None
    made.release_assigner(first)

    second = made.take_assigner()
    assert second is not None
    assert second != first


def test_what_waits_is_told_by_lane_and_in_order(store: Callable[[int, int], Made]) -> None:
    made, ids = store(2, 3)

    heads = made.waiting_lanes()

    (lane,) = heads
    assert [one.id for one in heads[lane]] == ids[:1]
    assert [one.id for one in made.candidates(lane, 2)] == ids[:2]


def test_what_is_assigned_waits_no_more_and_takes_a_slot(store: Callable[[int, int], Made]) -> None:
    made, ids = store(2, 2)
    epoch = made.take_assigner()
    assert epoch is not None
    (lane,) = made.waiting_lanes()

    events = made.write(epoch, [Choice(task=ids[0], worker="w1")])

    assert [task for task, _ in events] == ids[:1]
    assert [one.id for one in made.candidates(lane, 9)] == ids[1:]
    assert [(worker.id, worker.free) for worker in made.free_slots(None)] == [("w1", 1)]
    assert made.running([lane]) == {lane: 1}


def test_an_epoch_that_is_over_writes_nothing(store: Callable[[int, int], Made]) -> None:
    made, ids = store(2, 1)
    epoch = made.take_assigner()
    assert epoch is not None

    with pytest.raises(PlanOutdated):
        made.write(epoch - 1, [Choice(task=ids[0], worker="w1")])

    assert len(made.waiting_lanes()) == 1


def test_a_word_that_is_left_is_counted(store: Callable[[int, int], Made]) -> None:
    made, _ = store(1, 0)
    before = made.wanted()

    made.want()

    assert made.wanted() == before + 1


def test_slots_are_filled_in_order(store: Callable[[int, int], Made]) -> None:
    """By `assign`, over either."""
    made, ids = store(2, 3)

    assert assign(made, RecordedOutbox(), RecordedNudges()) == 2

    (lane,) = made.waiting_lanes()
    assert [one.id for one in made.candidates(lane, 9)] == ids[2:]
    assert made.free_slots(None) == []
