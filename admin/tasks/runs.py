"""Other runs of the same task, as a strip on its page: how each ended, how long it took, and since when they fail.

Two queries on the index `seen_by`, each for what stands next to the task in its order: they cost the same with any
number of tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from admin.auth import principal
from admin.ports import ports
from keruta.domain.same_runs import Streak, facet_of, failing_since
from keruta.domain.task import TaskSummary, TaskView
from keruta.domain.task_list import TaskFilter

OLDER, NEWER = 24, 5
HEIGHTS = 8


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `height`: from 1 to 8, by how long it took beside the longest one."""

    task: TaskSummary
    height: int


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The runs around a task, oldest first, with the task itself; and how long they have failed up to it."""

    strip: Sequence[Run]
    streak: Streak | None

    def before(self, task: str) -> str | None:
        """Return the run just before one of them."""
        older = [run.task.id for run in self.strip if run.task.id < task]
        return older[-1] if older else None


def around(view: TaskView) -> Runs | None:
    """Return the runs around a task that its reader may see; None where it is alone."""
    reading, wanted = ports().reading, TaskFilter(facets=[facet_of(view)])
    older = reading.page(principal(), wanted, limit=OLDER, cursor=view.id).items
    later = msgspec.structs.replace(wanted, oldest_first=True)
    newer = reading.page(principal(), later, limit=NEWER, cursor=view.id).items
    if not older and not newer:
        return None
    this = view.summary
    every = [*reversed(older), this, *newer]
    longest = max([1.0, *(_seconds(one) for one in every)])
    strip = [Run(task=one, height=max(1, round(HEIGHTS * _seconds(one) / longest))) for one in every]
    return Runs(strip=strip, streak=failing_since(this, older))


def _seconds(task: TaskSummary) -> float:
    if task.started_at is None or task.ended_at is None:
        return 0.0
    return max(0.0, (task.ended_at - task.started_at).total_seconds())
