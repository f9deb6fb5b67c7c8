"""The assignment as a pure plan, and the loop around it with a store in memory."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.scheduling import Candidate, Lane, Limits, Running, make_plan
from keruta.ports import PlanOutdated
from keruta.services.scheduler import assign
from keruta.testing import MemoryAssignment, RecordedNudges, RecordedOutbox


def lane(queue: str = "q", submitter: str = "s", repository: str = "r") -> Lane:
    return Lane(queue=queue, submitter=submitter, repository=repository)


def tasks(prefix: str, count: int, priority: int = 0) -> list[Candidate]:
    return [Candidate(rank=-priority, id=f"{prefix}{number:04d}") for number in range(count)]


def test_priority_goes_before_age() -> None:
    waiting = {lane(): sorted([*tasks("old", 2), *tasks("urgent", 1, priority=5)])}

    plan = make_plan(waiting, {"w": 2}, Running({}), Limits())

    assert [choice.task for choice in plan] == ["urgent0000", "old0000"]


def test_the_worker_with_most_free_slots_comes_first() -> None:
    plan = make_plan({lane(): tasks("t", 4)}, {"small": 1, "large": 3}, Running({}), Limits())

    assert Counter(choice.worker for choice in plan) == {"large": 3, "small": 1}
    assert plan[0].worker == "large"


def test_submitters_share_a_queue() -> None:
    """A submitter of a thousand tasks does not starve a submitter of one."""
    waiting = {lane(submitter="many"): tasks("a", 1000), lane(submitter="few"): tasks("z", 1)}

    plan = make_plan(waiting, {"w": 4}, Running({}), Limits())

    assert [choice.task for choice in plan] == ["a0000", "z0000", "a0001", "a0002"]


def test_queues_share_by_weight() -> None:
    waiting = {lane(queue="heavy"): tasks("h", 100), lane(queue="light"): tasks("l", 100)}

    plan = make_plan(waiting, {"w": 40}, Running({}), Limits(weights={"heavy": 3.0}))

    assert Counter(choice.task[0] for choice in plan) == {"h": 30, "l": 10}


def test_a_lane_at_its_limit_is_passed_over() -> None:
    waiting = {lane(repository="full"): tasks("a", 9, priority=100), lane(repository="free"): tasks("b", 9)}
    running = Running({lane(repository="full"): 2})

    plan = make_plan(waiting, {"w": 2}, running, Limits(repositories={"full": 2}))

    assert [choice.task[0] for choice in plan] == ["b", "b"]


@given(
    st.dictionaries(
        st.builds(lane, st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("rst")),
        st.integers(0, 20),
        max_size=8,
    ),
    st.dictionaries(st.sampled_from(["w1", "w2", "w3"]), st.integers(0, 6)),
    st.dictionaries(st.sampled_from("rst"), st.integers(0, 4)),
)
def test_whatever_waits_no_plan_breaks_a_limit(
    counts: dict[Lane, int], free: dict[str, int], repositories: dict[str, int]
) -> None:
    """No task twice, no worker over its slots, no repository over its limit; and no slot is left idle for nothing."""
    waiting = {one: tasks(f"{n}-", count) for n, (one, count) in enumerate(counts.items())}
    of = {candidate.id: one for one, candidates in waiting.items() for candidate in candidates}

    plan = make_plan(waiting, free, Running({}), Limits(repositories=repositories), most=1000)

    assert len({choice.task for choice in plan}) == len(plan)
    assert all(count <= free[worker] for worker, count in Counter(choice.worker for choice in plan).items())
    used = Counter(of[choice.task].repository for choice in plan)
    assert all(used[name] <= limit for name, limit in repositories.items())
    could: Counter[str] = Counter()
    for one, count in counts.items():
        could[one.repository] += count
    possible = sum(min(count, repositories.get(name, count)) for name, count in could.items())
    assert len(plan) == min(possible, sum(free.values()))


def test_a_plan_that_is_outdated_is_made_anew() -> None:
    """Not replayed: what moved is seen."""
    store = MemoryAssignment({"w": 1}, {lane(): tasks("t", 2)})
    store.before_write = [PlanOutdated("a task has moved"), PlanOutdated("again")]

    assert assign(store, RecordedOutbox(), RecordedNudges()) == 1
    assert not store.taken


def test_the_worker_that_is_being_answered_is_not_nudged() -> None:
    nudges = RecordedNudges()
    store = MemoryAssignment({"w1": 1, "w2": 1}, {lane(): tasks("t", 5)})

    assert assign(store, RecordedOutbox(), nudges, only="w1") == 1
    assert nudges.nudged == []
    assert assign(store, RecordedOutbox(), nudges) == 1
    assert nudges.nudged == [("w2", ["t0001"])]


def test_more_than_a_batch_is_assigned_in_several_writes() -> None:
    outbox = RecordedOutbox()
    store = MemoryAssignment({"w": 150}, {lane(): tasks("t", 200)})

    assert assign(store, outbox, RecordedNudges()) == 150
    assert len(outbox.sent) == 150


@pytest.mark.parametrize("most", [0, 1, 2])
def test_no_more_is_chosen_than_asked_for(most: int) -> None:
    assert len(make_plan({lane(): tasks("t", 4)}, {"w": 4}, Running({}), Limits(), most=most)) == most
