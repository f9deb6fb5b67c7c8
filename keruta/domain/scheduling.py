"""The assignment of tasks to workers as a pure plan.

Order: queues by weight, then submitters by what they already have running, then priority, then age. A lane whose
queue or repository is at its limit is passed over whole, so nothing starves behind it.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that are interchangeable but for priority and age."""

    queue: str
    submitter: str
    repository: str
    profile: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A task that may be assigned; sorts by who comes first in its lane."""

    rank: int  # minus the priority
    id: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of running tasks, and queues' weights; a missing entry is no limit.

    What is paused has 0; what is tried again after failures has 1.

    Args:
        budgets: how many more attempts of coding agents what is left today covers, by queue and submitter; the
            submitter is empty for the whole queue.
        metered: the profiles whose tasks spend it.
        credentials: of keys for a model that were refused.
        keys: the profiles that have such a key, each with its credential.
    """

    queues: Mapping[str, int] = msgspec.field(default_factory=dict)
    repositories: Mapping[str, int] = msgspec.field(default_factory=dict)
    profiles: Mapping[str, int] = msgspec.field(default_factory=dict)
    weights: Mapping[str, float] = msgspec.field(default_factory=dict)
    budgets: Mapping[tuple[str, str], int] = msgspec.field(default_factory=dict)
    metered: frozenset[str] = frozenset()
    credentials: Mapping[str, int] = msgspec.field(default_factory=dict)
    keys: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Return whether a limit depends on what runs."""
        return bool(self.queues or self.repositories or self.profiles or self.credentials)

    def spends(self, lane: Lane) -> bool:
        """Return whether a lane's tasks spend a budget."""
        return lane.profile in self.metered and (lane.queue, "") in self.budgets


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One task for one worker.

    Args:
        spends: whether a budget is reserved for it.
    """

    task: str
    worker: str
    spends: bool = False


class Running:
    """Numbers of running tasks by queue, repository and submitter; the plan adds to them."""

    def __init__(self, by_lane: Mapping[Lane, int]) -> None:
        self.queues: Counter[str] = Counter()
        self.submitters: Counter[tuple[str, str]] = Counter()
        self.repositories: Counter[str] = Counter()
        self.profiles: Counter[str] = Counter()
        self.planned: Counter[Lane] = Counter()
        for lane, count in by_lane.items():
            self.add(lane, count)
        self.planned.clear()

    def add(self, lane: Lane, count: int = 1) -> None:
        self.queues[lane.queue] += count
        self.submitters[lane.queue, lane.submitter] += count
        self.repositories[lane.repository] += count
        self.profiles[lane.profile] += count
        self.planned[lane] += count


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that counts for a lane, and how many tasks run under it."""

    kind: str
    limit: int
    running: int

    @property
    def room(self) -> int:
        return self.limit - self.running


def bounds(lane: Lane, running: Running, limits: Limits) -> list[Bound]:
    """Return the limits that count for a lane: of its queue, repository, profile, key and budgets."""
    known = (
        *_of_key(lane, running, limits),
        ("queue", limits.queues.get(lane.queue), running.queues[lane.queue]),
        ("repository", limits.repositories.get(lane.repository), running.repositories[lane.repository]),
        ("profile", limits.profiles.get(lane.profile), running.profiles[lane.profile]),
    )
    found = [Bound(kind=kind, limit=limit, running=count) for kind, limit, count in known if limit is not None]
    return [*found, *_budgets(lane, running, limits)] if limits.spends(lane) else found


def _of_key(lane: Lane, running: Running, limits: Limits) -> Iterator[tuple[str, int | None, int]]:
    """Yield the limit of a lane's key for a model, if that was refused, and how many tasks run with the key."""
    if (key := limits.keys.get(lane.profile)) is not None:
        with_key = sum(running.profiles[one] for one, its in limits.keys.items() if its == key)
        yield "credential", limits.credentials.get(key), with_key


def _budgets(lane: Lane, running: Running, limits: Limits) -> Iterator[Bound]:
    """Yield what is left of the day's budgets: what runs is reserved already, so only what is planned counts."""
    for kind, submitter in (("budget", ""), ("submitter_budget", lane.submitter)):
        limit = limits.budgets.get((lane.queue, submitter))
        if limit is not None:
            of_these = (one for one in running.planned if one.queue == lane.queue and one.profile in limits.metered)
            planned = sum(running.planned[one] for one in of_these if submitter in ("", one.submitter))
            yield Bound(kind=kind, limit=limit, running=planned)


def room(lane: Lane, running: Running, limits: Limits) -> float:
    """Return how many more tasks of a lane may start now; infinity if nothing limits it."""
    return min((bound.room for bound in bounds(lane, running, limits)), default=math.inf)


def blocked(lane: Lane, running: Running, limits: Limits) -> bool:
    """Says whether nothing of a lane may start now."""
    return room(lane, running, limits) <= 0


def make_plan(
    lanes: Mapping[Lane, Sequence[Candidate]], free: Mapping[str, int], running: Running, limits: Limits, most: int = 64
) -> list[Choice]:
    """Chooses which waiting tasks go to which workers.

    Args:
        lanes: the waiting tasks of each lane, those that come first at its head; a prefix of each is enough.
        free: free slots by worker.
        running: what runs now; changed by the plan.
        most: how many choices to make at the most.

    Returns:
        The choices, in order; each goes to the worker with most free slots at that moment.
    """
    waiting = {lane: list(reversed(candidates)) for lane, candidates in lanes.items() if candidates}
    slots = [(-count, worker) for worker, count in free.items() if count > 0]
    heapq.heapify(slots)
    choices: list[Choice] = []
    while slots and len(choices) < most:
        open_lanes = [lane for lane in waiting if not blocked(lane, running, limits)]
        if not open_lanes:
            break
        lane = min(open_lanes, key=lambda lane: (_share(lane, running, limits), waiting[lane][-1]))
        task = waiting[lane].pop()
        if not waiting[lane]:
            del waiting[lane]
        count, worker = heapq.heappop(slots)
        if count + 1 < 0:
            heapq.heappush(slots, (count + 1, worker))
        running.add(lane)
        choices.append(Choice(task=task.id, worker=worker, spends=limits.spends(lane)))
    return choices


def _share(lane: Lane, running: Running, limits: Limits) -> tuple[float, int]:
    """Return the present share of a lane's queue and submitter: less comes first; priority and age decide ties."""
    weight = limits.weights.get(lane.queue, 1.0)
    return running.queues[lane.queue] / weight, running.submitters[lane.queue, lane.submitter]
