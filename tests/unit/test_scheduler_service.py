"""Assignment on a store in memory: one assigner at a time, plans made anew, who is nudged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from keruta.domain.scheduling import Candidate, Choice, Lane, Limits
from keruta.ports import PlanOutdated
from keruta.services.scheduler import BATCH, TRIES, assign
from keruta.testing import MemoryAssignment, RecordedNudges, RecordedOutbox


def lane(queue: str = "default", **more: str) -> Lane:
    return Lane(**{"queue": queue, "submitter": "ann", "repository": "r", "profile": "shell", **more})


def store(slots: dict[str, int], limits: Limits | None = None, **tasks: int) -> MemoryAssignment:
    """So many tasks wait in the lane of each queue, named by it and their number."""
    waiting = {
        lane(queue): [Candidate(rank=number, id=f"{queue}{number:03}") for number in range(count)]
        for queue, count in tasks.items()
        if count
    }
    return MemoryAssignment(slots, waiting, limits)


class Assigned:
    """An assignment, and who was told of it."""

    def __init__(self, made: MemoryAssignment, only: str | None = None) -> None:
        self.outbox, self.nudges = RecordedOutbox(), RecordedNudges()
        self.count = assign(made, self.outbox, self.nudges, only=only)
        self.tasks = [choice.task for choice in made.choices]


def test_slots_are_filled_in_order_and_workers_nudged_once() -> None:
    """Each event goes out; each worker hears of all that it gets by one nudge."""
    done = Assigned(store({"w1": 2, "w2": 1}, a=5))

    assert (done.count, sorted(done.tasks)) == (3, ["a000", "a001", "a002"])
    assert sorted(task for task, _ in done.outbox.sent) == ["a000", "a001", "a002"]
    assert sorted(len(tasks) for _, tasks in done.nudges.nudged) == [1, 2]


def test_one_workers_slots_alone_are_filled_and_it_is_not_nudged() -> None:
    """No nudge is sent to the worker, because it gets its answer now."""
    made = store({"w1": 1, "w2": 1}, a=5)

    done = Assigned(made, only="w1")

    assert [choice.worker for choice in made.choices] == ["w1"]
    assert done.count == 1
    assert done.nudges.nudged == []


def test_nothing_is_asked_for_where_no_slot_is_free() -> None:
    """The assigner's lease is not even taken."""
    made = store({}, a=1)

    assert Assigned(made).count == 0
    assert made.epoch == 0


def test_nothing_is_written_where_nothing_waits() -> None:
    """The lease is given back."""
    made = store({"w1": 1})

    assert Assigned(made).count == 0
    assert (made.epoch, made.taken, made.choices) == (1, False, [])


def test_a_worker_that_asks_for_more_and_has_no_slot_gets_none() -> None:
    """Nor is anything planned for others."""
    made = store({"w1": 0, "w2": 1}, a=1)

    assert Assigned(made, only="w1").count == 0
    assert made.choices == []


def test_a_worker_that_asks_for_more_takes_the_assigner_without_a_look_at_the_others() -> None:
    """Free slots are read once, for the plan."""
    made = Counting({"w1": 1}, {lane(): [Candidate(rank=0, id="a")]})
    Assigned(made, only="w1")
    assert made.asked == ["w1"]


def test_nothing_is_planned_or_written_without_a_free_slot() -> None:
    """Limits and what runs are not read for it."""
    made = Counting({"w1": 0, "w2": 1}, {lane(): [Candidate(rank=0, id="a")]}, Limits(queues={"default": 5}))
    Assigned(made, only="w1")
    assert (made.ran, made.written) == (0, [])


def test_nothing_is_written_where_every_lane_is_at_its_limit() -> None:
    made = Counting({"w1": 1}, {lane(): [Candidate(rank=0, id="a")]}, Limits(queues={"default": 0}))
    assert Assigned(made).count == 0
    assert made.written == []


def test_more_than_a_batch_is_assigned_in_rounds() -> None:
    """Each of at most 64."""
    made = Counting({"w1": 200}, {lane(): [Candidate(rank=n, id=f"{n:03}") for n in range(BATCH * 2 + 1)]})

    assert Assigned(made).count == BATCH * 2 + 1
    assert made.written == [BATCH, BATCH, 1]


class Counting(MemoryAssignment):
    """Remembers how many were written at once, and how often was read what runs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.written: list[int] = []
        self.ran = 0
        self.read: list[Lane] = []
        self.asked: list[str | None] = []

    def free_slots(self, only: str | None) -> Any:
        self.asked.append(only)
        return super().free_slots(only)

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Any:
        self.written.append(len(choices))
        return super().write(epoch, choices, release=release)

    def running(self, lanes: object) -> Any:
        self.ran += 1
        return super().running(lanes)

    def candidates(self, lane: Lane, most: int) -> list[Candidate]:
        self.read.append(lane)
        return super().candidates(lane, most)


@pytest.mark.parametrize(
    ("queues", "limits", "asked"),
    [
        (["a"], Limits(), 0),
        (["a", "b"], Limits(), 1),
        (["a"], Limits(queues={"a": 5}), 1),
        (["a"], Limits(repositories={"r": 5}), 1),
        (["a"], Limits(profiles={"shell": 5}), 1),
    ],
)
def test_what_runs_is_read_only_where_lanes_compete_or_are_limited(
    queues: list[str], limits: Limits, asked: int
) -> None:
    """It is the dearest thing to ask for."""
    made = Counting({"w1": 9}, {lane(queue): [Candidate(rank=0, id=queue)] for queue in queues}, limits)

    assert Assigned(made).count == len(queues)
    assert made.ran == asked


def test_what_runs_counts_against_a_limit() -> None:
    """A queue that is full gets nothing more."""
    made = store({"w1": 9}, Limits(queues={"a": 2}), a=5)

    assert Assigned(made).count == 2
    assert Assigned(made).count == 0


def test_only_lanes_that_win_with_their_heads_are_read_further() -> None:
    """One slot needs the heads alone; a lane that is blocked is not read."""
    tasks = {lane(queue): [Candidate(rank=n, id=f"{queue}{n}") for n in range(2)] for queue in ("a", "b")}
    made = Counting({"w1": 1}, tasks, Limits())
    assert Assigned(made).count == 1
    assert made.read == []

    made = Counting({"w1": 3}, tasks, Limits(queues={"b": 0}))
    assert Assigned(made).count == 2
    assert made.read == [lane("a")]


def test_a_plan_that_is_outdated_is_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    """At most five times for a round; each is logged."""
    made = store({"w1": 1}, a=1)
    made.before_write += [PlanOutdated("moved")] * (TRIES - 1)

    with caplog.at_level(logging.INFO):
        assert Assigned(made).count == 1
    assert [record.message for record in caplog.records].count("plan made anew: moved") == TRIES - 1


def test_a_round_that_never_fits_is_given_up() -> None:
    """The next event or tick assigns what is left; the lease is given back, and nobody is told."""
    made = store({"w1": 1}, a=1)
    made.before_write += [PlanOutdated("moved")] * TRIES

    done = Assigned(made)

    assert (done.count, done.outbox.sent, done.nudges.nudged) == (0, [], [])
    assert made.taken is False
    assert made.before_write == []


def test_the_lease_is_given_back_when_writing_fails() -> None:
    """The error goes to the caller."""
    made = store({"w1": 1}, a=1)
    made.before_write.append(RuntimeError("no"))

    with pytest.raises(RuntimeError):
        Assigned(made)
    assert made.taken is False


def test_who_finds_another_at_work_says_so_and_leaves() -> None:
    """The other looks at it when it gives the lease back."""
    made = store({"w1": 1}, a=1)
    made.taken = True

    assert Assigned(made).count == 0
    assert made.wanted is True


class Wanted(MemoryAssignment):
    """Others want to assign while this one does."""

    calls = 0

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Any:
        self.calls += 1
        if self.calls == 1:
            assert self.take_assigner() is None
            self.slots["w2"] = 1
        return super().write(epoch, choices, release=release)


def test_a_wish_that_came_meanwhile_is_seen() -> None:
    """Whoever called gets its slots filled: for whom is not known, so all are."""
    made = Wanted({"w1": 1}, {lane(): [Candidate(rank=n, id=f"a{n}") for n in range(3)]})

    done = Assigned(made, only="w1")

    assert done.count == 2
    assert [choice.worker for choice in made.choices] == ["w1", "w2"]
    assert done.nudges.nudged == [("w2", ["a1"])]


def test_what_is_assigned_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With how many; nothing is logged where nothing was."""
    with caplog.at_level(logging.INFO):
        Assigned(store({"w1": 2}, a=2))
        Assigned(store({"w1": 2}))

    assert [record.message for record in caplog.records] == ["assigned 2"]
