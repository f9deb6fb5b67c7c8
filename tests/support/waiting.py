"""Waits for a task, whichever system it is on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from keruta.domain.task import TaskView


def reached(
    look: Callable[[], TaskView | None], statuses: Sequence[str], *, seconds: float, every_seconds: float
) -> TaskView:
    """The task once it is in one of these statuses; a failure says where it stands instead.

    Args:
        look: the task as it is now; None while keruta is away.
    """
    until = time.monotonic() + seconds
    while True:
        task = look()
        if task is not None and task.status in statuses:
            return task
        if time.monotonic() > until:
            stands = task and (task.id, task.status, task.reason, task.message, task.waiting, task.history)
            raise AssertionError(f"not {' or '.join(statuses)} after {seconds} s: {stands}")
        time.sleep(every_seconds)
