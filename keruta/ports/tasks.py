"""Ports of changing tasks: storage, events, and the audit record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from keruta.domain.audit import Action, Subject
    from keruta.domain.catalog.access import Access
    from keruta.domain.decisions.values import Decision, LogSummary, Standing
    from keruta.domain.events import Event
    from keruta.domain.lifecycle import Change


class WorkerSlots(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that may be given tasks."""

    id: str
    address: str | None
    free: int


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is after a decision was written, and the event that tells of a change of status."""

    task: Standing
    change: Change | None
    event: Event | None


class TaskStore(Protocol):
    """Storage of tasks. It finds, guards and writes; decisions are made elsewhere."""

    def standing(self, task_id: str, readers: Sequence[str] | None = None) -> Standing | None:
        """Return a task's state; None if it is missing or not visible to these names."""
        ...

    def write(self, task_id: str, decision: Decision, log: LogSummary | None = None) -> Changed | None:
        """Write a decision in one conditional update, and what is known of the log. Raises Unavailable.

        Returns:
            None if the decision's guard did not hold.
        """
        ...

    def queued_drawing_on(self, entry: str) -> Sequence[str]:
        """The queued tasks that need an entry of the catalog, named as `kind:name`."""
        ...

    def without_entries(self, task_id: str) -> Sequence[tuple[str, str]]:
        """The entries of the catalog that a task names and that were deleted, as (kind, name), whoever has the name."""
        ...

    def grants(self, task_id: str) -> Sequence[tuple[str, str, Access | None]]:
        """The present grants of the repository and the queue that a task names, as (kind, name, grants)."""
        ...

    def orphans(self) -> Sequence[tuple[str, str]]:
        """The tasks that wait to be assigned in a queue that is not there, as (task, queue)."""
        ...

    def worker(self, name: str) -> WorkerSlots | None:
        """A worker with its address."""
        ...


class TaskTracing(Protocol):
    """Traces of tasks' lives."""

    def ended(self, task: Standing) -> None:
        """Trace a task's whole life; nothing for one that has not ended."""
        ...


class Audit(Protocol):
    """The audit record of changes."""

    def record(self, who: str, action: Action, kind: Subject, of: str, *, readers: Sequence[str]) -> None: ...
