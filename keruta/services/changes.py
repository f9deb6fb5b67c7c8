"""Carries out decisions: read how a task stands, decide, write under the decision's guard, tell of it.

Where the guard no longer holds, something else has happened to the task meanwhile: it is read and decided about anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from keruta.domain.decisions.values import Decision, Standing
from keruta.domain.messages import message
from keruta.errors import Unavailable
from keruta.ports import Changed, Outbox, TaskStore, TaskTracing

Answer = TypeVar("Answer")

# At once, and ten times in all: each time, somebody else has changed the task, which few can do at a time.
TRIES = 10


class TaskMovedError(Unavailable):
    """A task has changed between reading and writing."""


class TaskPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Storage of tasks, and receivers of their changes."""

    tasks: TaskStore
    outbox: Outbox
    tracing: TaskTracing


def write(ports: TaskPorts, task_id: str, decision: Decision) -> Changed | None:
    """Write a decision, and tell of it. Returns None if its guard did not hold."""
    changed = ports.tasks.write(task_id, decision)
    if changed is not None:
        tell(ports, changed)
    return changed


def tell(ports: TaskPorts, changed: Changed) -> None:
    """Send the event of a change, and trace a task that has ended."""
    if changed.event is not None:
        ports.outbox.send(changed.task.id, [changed.event])
        ports.tracing.ended(changed.task)


def settle(
    read: Callable[[], Standing | None],
    decide: Callable[[Standing | None], Decision | Answer],
    write: Callable[[Decision], Changed | None],
    known: Standing | None = None,
) -> Changed | Answer:
    """Decide and write until the decision's guard holds. What is not a decision is returned as it is.

    Args:
        known: how the task stood a moment ago, to begin with.

    Raises:
        Unavailable: the task kept changing.
    """

    def once(task: Standing | None) -> Changed | Answer:
        verdict = decide(task)
        if not isinstance(verdict, Decision):
            return verdict
        changed = write(verdict)
        if changed is None:
            raise TaskMovedError(message("task_moved"))
        return changed

    for attempt in Retrying(
        stop=stop_after_attempt(TRIES), retry=retry_if_exception_type(TaskMovedError), reraise=True
    ):
        with attempt:
            first = attempt.retry_state.attempt_number == 1
            return once(known if first and known is not None else read())
    raise AssertionError("a retry ends by returning or raising")
