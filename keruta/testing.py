"""Fakes for tests of keruta and of what is built on it. Each passes the contract tests of the real thing."""

from __future__ import annotations

from collections.abc import Sequence

from keruta.domain.events import Event
from keruta.domain.naming import new_id
from keruta.domain.scheduling import Candidate, Choice, Lane, Limits
from keruta.ports import Assignments, PlanOutdated, WorkerSlots


class RecordedOutbox:
    """Remembers what was to be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Event]] = []

    def send(self, task_id: str, events: Sequence[Event]) -> None:
        self.sent += [(task_id, event) for event in events]


class RecordedNudges:
    """Remembers who was nudged, for which tasks."""

    def __init__(self) -> None:
        self.nudged: list[tuple[str, list[str]]] = []

    def nudge(self, worker: WorkerSlots, tasks: Sequence[str]) -> None:
        self.nudged.append((worker.id, list(tasks)))


class MemoryAssignment:
    """`keruta.ports.AssignmentStore` in memory, with a hook to make something happen between plan and write."""

    def __init__(self, slots: dict[str, int], lanes: dict[Lane, list[Candidate]], limits: Limits | None = None) -> None:
        self.slots = slots
        self.lanes = lanes
        self.fixed_limits = limits or Limits()
        self.choices: list[Choice] = []
        self.epoch = 0
        self.taken = False
        self.wanted = False
        self.before_write: list[Exception] = []
        self._lane_of = {candidate.id: lane for lane, waiting in lanes.items() for candidate in waiting}

    def take_assigner(self) -> int | None:
        if self.taken:
            self.wanted = True
            return None
        self.taken, self.wanted = True, False
        self.epoch += 1
        return self.epoch

    def release_assigner(self, epoch: int) -> bool:
        if epoch != self.epoch:
            return False
        self.taken = False
        return self.wanted

    def free_slots(self, worker: str | None) -> list[WorkerSlots]:
        used = [choice.worker for choice in self.choices]
        free = {name: count - used.count(name) for name, count in self.slots.items() if worker in (None, name)}
        return [WorkerSlots(id=name, address=None, free=count) for name, count in free.items() if count > 0]

    def waiting(self, worker: str | None) -> tuple[dict[Lane, list[Candidate]], list[WorkerSlots]]:
        return {lane: waiting[:1] for lane, waiting in self._waiting().items()}, self.free_slots(worker)

    def candidates(self, lane: Lane, most: int) -> list[Candidate]:
        return self._waiting().get(lane, [])[:most]

    def running(self, lanes: object) -> dict[Lane, int]:
        counts: dict[Lane, int] = {}
        for choice in self.choices:
            lane = self._lane_of[choice.task]
            counts[lane] = counts.get(lane, 0) + 1
        return counts

    def limits(self, lanes: object) -> Limits:
        return self.fixed_limits

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Assignments:
        if self.before_write:
            raise self.before_write.pop(0)
        if epoch != self.epoch or not self.taken:
            raise PlanOutdated("another assigner has taken over")
        self.choices += choices
        events = [(choice.task, Event(id=new_id(), type="assigned", subject=choice.task)) for choice in choices]
        return Assignments(events=events, wanted=release and self.release_assigner(epoch))

    def _waiting(self) -> dict[Lane, list[Candidate]]:
        gone = {choice.task for choice in self.choices}
        left = {lane: [one for one in sorted(waiting) if one.id not in gone] for lane, waiting in self.lanes.items()}
        return {lane: waiting for lane, waiting in left.items() if waiting}
