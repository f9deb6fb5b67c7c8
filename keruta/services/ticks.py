"""Changes of tasks by time: leases expire, backoffs end, attempts are handed over. Run by the tick.

Safe by many at a time: each change is a conditional update of one task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from keruta import metrics
from keruta.domain.decisions.commands import on_queue_missing
from keruta.domain.decisions.leases import heirs, on_lease_expired, on_unanswered
from keruta.domain.decisions.values import Standing
from keruta.ports import AssignmentStore, ExpiryStore, Nudges, SweptOutbox
from keruta.services.changes import TaskPorts, write
from keruta.services.scheduler import assign

log = logging.getLogger(__name__)


class TickPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that a tick needs.

    Args:
        reports_arrive: whether report_status answers at the address that agents use.
        size_pool: sizes the pool of workers, where keruta does.
        note_times: makes a delivery of each time of a schedule that has come.
        process_deliveries: makes tasks of the deliveries that are due.
        sign_provenance: signs what is due of statements on attempts.
        settle_budgets: replaces the reservations of attempts that have ended by what they have spent.
    """

    changes: TaskPorts
    expiry: ExpiryStore
    assignment: AssignmentStore
    outbox: SweptOutbox
    nudges: Nudges
    reports_arrive: Callable[[], bool]
    size_pool: Callable[[], None]
    note_times: Callable[[], object]
    process_deliveries: Callable[[], object]
    sign_provenance: Callable[[], object]
    settle_budgets: Callable[[], object]
    lease_seconds: float


def tick(ports: TickPorts) -> None:
    """Let time do its work, assign what waits, send what was left, and size the pool."""
    expire(ports.changes, ports.expiry, ports.lease_seconds, reports_arrive=ports.reports_arrive())
    ports.note_times()
    ports.process_deliveries()
    ports.settle_budgets()
    assign(ports.assignment, ports.outbox, ports.nudges)
    ports.outbox.send_left()
    ports.sign_provenance()
    ports.size_pool()


def expire(changes: TaskPorts, store: ExpiryStore, lease_seconds: float, *, reports_arrive: bool) -> int:
    """Let expire what has expired, unless keruta itself was away; return how many tasks changed.

    Args:
        reports_arrive: a sign that agents can report, as good as a report.
    """
    if reports_arrive:
        store.note_report()
    store.release_due()
    store.release_from_lost_workers()
    _hand_over(store)
    refuse_orphans(changes)
    if not store.note_tick():
        return 0
    unanswered = sum(write(changes, task.id, on_unanswered(task)) is not None for task in store.unanswered())
    return unanswered + sum(_expire(changes, task, lease_seconds) for task in store.expired())


def refuse_orphans(changes: TaskPorts) -> int:
    """Fail the tasks that came back to a queue which was deleted while they ran; return how many they were."""
    waiting = changes.tasks.orphans()
    return sum(write(changes, task, on_queue_missing(queue)) is not None for task, queue in waiting)


def _expire(changes: TaskPorts, task: Standing, lease_seconds: float) -> bool:
    """Write what becomes of one task; a heartbeat that comes meanwhile wins."""
    decision = on_lease_expired(task, lease_seconds)
    changed = write(changes, task.id, decision)
    if changed is None:
        return False
    log.warning(
        "lease ran out: %s",
        decision.change,
        extra={"task": task.id, "attempt": task.attempt and task.attempt.number, "action": "lease_expired"},
    )
    metrics.LEASES_EXPIRED.labels(status=changed.task.status).inc()
    return True


def _hand_over(store: ExpiryStore) -> None:
    """Give the attempts of workers in a cluster that are gone to others: Jobs go on, whoever made them."""
    workers = store.cluster_workers()
    gone = [worker.id for worker in workers if not worker.alive]
    slots = {worker.id: worker.slots for worker in workers if worker.alive}
    if not gone or not slots:
        return
    chosen = heirs(store.held_by(gone), slots)
    for task_id, heir in chosen:
        store.hand_over(task_id, gone, heir)
    if chosen:
        log.warning("handed over %d attempts", len(chosen), extra={"action": "handed_over", "count": len(chosen)})
    store.forget(gone)
