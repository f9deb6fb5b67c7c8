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

    heads, _ = made.waiting(None)

    (lane,) = heads
    assert [one.id for one in heads[lane]] == ids[:1]
    assert [one.id for one in made.candidates(lane, 2)] == ids[:2]


def test_what_is_assigned_waits_no_more_and_takes_a_slot(store: Callable[[int, int], Made]) -> None:
    made, ids = store(2, 2)
    epoch = made.take_assigner()
    assert epoch is not None
    (lane,) = made.waiting(None)[0]

    written = made.write(epoch, [Choice(task=ids[0], worker="w1")])

    assert [task for task, _ in written.events] == ids[:1]
    assert [one.id for one in made.candidates(lane, 9)] == ids[1:]
    for free in (made.free_slots(None), made.free_slots("w1"), made.waiting(None)[1], made.waiting("w1")[1]):
        assert [(worker.id, worker.free) for worker in free] == [("w1", 1)]
    assert made.free_slots("w2") == made.waiting("w2")[1] == []
    assert made.running([lane]) == {lane: 1}


def test_an_epoch_that_is_over_writes_nothing(store: Callable[[int, int], Made]) -> None:
    made, ids = store(2, 1)
    epoch = made.take_assigner()
    assert epoch is not None

    with pytest.raises(PlanOutdated):
        made.write(epoch - 1, [Choice(task=ids[0], worker="w1")])

    assert len(made.waiting(None)[0]) == 1


@pytest.mark.parametrize("writes", [False, True])
def test_whoever_gives_the_lease_back_learns_that_another_wanted_it(
    store: Callable[[int, int], Made], writes: bool
) -> None:
    """With the last write, or without one; and once."""
    made, ids = store(2, 2)

    def give_back(number: int) -> bool:
        epoch = made.take_assigner()
        assert epoch is not None
        if number == 0:
            assert made.take_assigner() is None
        if not writes:
            return made.release_assigner(epoch)
        return made.write(epoch, [Choice(task=ids[number], worker="w1")], release=True).wanted

    assert [give_back(0), give_back(1)] == [True, False]


def test_slots_are_filled_in_order(store: Callable[[int, int], Made]) -> None:
    """By `assign`, over either."""
    made, ids = store(2, 3)

    assert assign(made, RecordedOutbox(), RecordedNudges()) == 2

    (lane,) = made.waiting(None)[0]
    assert [one.id for one in made.candidates(lane, 9)] == ids[2:]
    assert made.free_slots(None) == []
