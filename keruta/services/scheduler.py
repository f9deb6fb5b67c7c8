"""Assignment: who gets what, by one assigner at a time. Run by dispatch, and by report_status for a free slot.

Any number of processes may call `assign` at once. One takes the assigner's lease and works; the others leave, and the
same write that did not give them the lease says in it that they wanted it. Whoever gives it back learns that, and takes
it once more: so what made any of them call is seen by someone. The plan is pure (`keruta.domain.scheduling`); the write
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
    assigned, wanted = 0, True
    while wanted and (only is not None or store.free_slots(None)):
        epoch = store.take_assigner()
        if epoch is None:
            break
        given_back = None
        try:
            written, given_back = _rounds(store, outbox, nudges, epoch, only)
            assigned += written
        finally:
            wanted = store.release_assigner(epoch) if given_back is None else given_back
        only = None  # another called meanwhile; for whom is not known
    return assigned


def _rounds(
    store: AssignmentStore, outbox: Outbox, nudges: Nudges, epoch: int, only: str | None
) -> tuple[int, bool | None]:
    """Return how many tasks were assigned, and, if the lease was given back, whether another one wanted it."""
    assigned = 0
    while True:
        written, wanted = _PLAN_AGAIN(_round, store, outbox, nudges, epoch, only)
        assigned += written
        if written < BATCH:
            return assigned, wanted


def _note_outdated(state: RetryCallState) -> None:
    log.info("plan made anew: %s", state.outcome and state.outcome.exception(), extra={"action": "plan_outdated"})


# Five plans for a round, at once: something has moved since. Then the next event or tick assigns what is left.
_PLAN_AGAIN = Retrying(
    stop=stop_after_attempt(TRIES),
    retry=retry_if_exception_type(PlanOutdated),
    after=_note_outdated,
    retry_error_callback=lambda state: (0, None),
)


def _round(
    store: AssignmentStore, outbox: Outbox, nudges: Nudges, epoch: int, only: str | None
) -> tuple[int, bool | None]:
    heads, slots = store.waiting(only)
    workers = {worker.id: worker for worker in slots}
    if not heads or not workers:
        return 0, None
    limits = store.limits(heads)
    competing = len(heads) > 1 or limits.counted
    by_lane = store.running(heads) if competing else {}
    free = {worker.id: worker.free for worker in workers.values()}
    most = min(BATCH, sum(free.values()))
    lanes = _deepen(store, heads, by_lane, limits, most)
    choices = make_plan(lanes, free, Running(by_lane), limits, most)
    if not choices:
        return 0, None
    release = len(choices) < BATCH
    written = store.write(epoch, choices, release=release)
    for task, event in written.events:
        outbox.send(task, [event])
    told: dict[str, list[str]] = defaultdict(list)
    for choice in choices:
        told[choice.worker].append(choice.task)
    for worker, tasks in told.items():
        if worker != only:
            nudges.nudge(workers[worker], tasks)
    log.info("assigned %d", len(choices), extra={"action": "tasks_assigned", "count": len(choices)})
    return len(choices), written.wanted if release else None


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
