"""Assignment: who gets what, by one assigner at a time. Run by dispatch, and by report_status for a free slot.

Any number of processes may call `assign` at once. One takes the assigner's lease and works; the others add to
`assigner_wanted` and leave. Having given the lease back, it looks at that number again and takes it once more if it
moved: so what made any of them call is seen by someone. The plan is pure (`keruta.domain.scheduling`); the write
holds under the lease's epoch only, so a process that was frozen in between writes nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from keruta.domain.scheduling import Candidate, Lane, Limits, Running, make_plan
from keruta.ports import AssignmentStore, Nudges, Outbox, PlanOutdated

log = logging.getLogger(__name__)

BATCH = 64
TRIES = 5


def assign(store: AssignmentStore, outbox: Outbox, nudges: Nudges, *, only: str | None = None) -> int:
    """Every task that could be assigned when this was called is assigned, by this process or by another at work.

    Args:
        only: fill this one worker's slots, and do not nudge it: it is being answered.

    Returns:
        How many tasks this call assigned.
    """
    assigned = 0
    while only is not None or store.free_slots(None):
        epoch = store.take_assigner()
        if epoch is None:
            store.want()
            epoch = store.take_assigner()  # it may have let go before it could see that we want
            if epoch is None:
                break
        seen = store.wanted()
        released = False
        try:
            written, released = _rounds(store, outbox, nudges, epoch, only)
            assigned += written
        finally:
            if not released:
                store.release_assigner(epoch)
        if store.wanted() == seen:
            break
        only = None  # another called meanwhile; for whom is not known
    return assigned


def _rounds(store: AssignmentStore, outbox: Outbox, nudges: Nudges, epoch: int, only: str | None) -> tuple[int, bool]:
    """Return how many tasks were assigned, and whether the last write gave the assigner's lease back."""
    assigned = 0
    while True:
        written = _PLAN_AGAIN(_round, store, outbox, nudges, epoch, only)
        assigned += written
        if written < BATCH:
            return assigned, written > 0


def _note_outdated(state: RetryCallState) -> None:
    log.info("plan made anew: %s", state.outcome and state.outcome.exception(), extra={"action": "plan_outdated"})


# Five plans for a round, at once: something has moved since. Then the next event or tick assigns what is left.
_PLAN_AGAIN = Retrying(
    stop=stop_after_attempt(TRIES),
    retry=retry_if_exception_type(PlanOutdated),
    after=_note_outdated,
    retry_error_callback=lambda state: 0,
)


def _round(store: AssignmentStore, outbox: Outbox, nudges: Nudges, epoch: int, only: str | None) -> int:
    heads = store.waiting_lanes()
    workers = {worker.id: worker for worker in store.free_slots(only)} if heads else {}
    if not workers:
        return 0
    limits = store.limits(heads)
    competing = len(heads) > 1 or limits.counted
    by_lane = store.running(heads) if competing else {}
    free = {worker.id: worker.free for worker in workers.values()}
    most = min(BATCH, sum(free.values()))
    lanes = _deepen(store, heads, by_lane, limits, most)
    choices = make_plan(lanes, free, Running(by_lane), limits, most)
    if not choices:
        return 0
    for task, event in store.write(epoch, choices, release=len(choices) < BATCH):
        outbox.send(task, [event])
    told: dict[str, list[str]] = defaultdict(list)
    for choice in choices:
        told[choice.worker].append(choice.task)
    for worker, tasks in told.items():
        if worker != only:
            nudges.nudge(workers[worker], tasks)
    log.info("assigned %d", len(choices), extra={"action": "tasks_assigned", "count": len(choices)})
    return len(choices)


def _deepen(
    store: AssignmentStore,
    heads: Mapping[Lane, Sequence[Candidate]],
    by_lane: Mapping[Lane, int],
    limits: Limits,
    most: int,
) -> Mapping[Lane, Sequence[Candidate]]:
    """Reads on in the lanes that win with their heads alone: no other can win with what stands behind its head."""
    if most == 1:
        return heads
    first = {choice.task for choice in make_plan(heads, {"": most}, Running(by_lane), limits, most)}
    return {lane: store.candidates(lane, most) if head[0].id in first else head for lane, head in heads.items()}
