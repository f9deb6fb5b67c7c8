"""A queue: where tasks wait, how many of them run at once, and what share they get beside other queues."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.budgets import Budget, SpentToday
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.task import RetryPolicy


class QueueSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A queue as a team writes it."""

    name: Name
    description: Description = ""
    max_running: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    weight: Annotated[float, Meta(ge=0.01, le=1000)] = 1.0
    default_priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    default_retry: RetryPolicy | None = None
    budget: Budget | None = None
    access: Access | None = None

    def faults(self) -> Problems:
        if self.budget is not None:
            yield from ((f"/budget{at}", said) for at, said in self.budget.faults())


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Reason for which a queue is paused."""

    reason: str
    by: str
    at: datetime


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a pause."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class QueueView(QueueSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A queue as the API shows it."""

    meta: Kept
    paused: Pause | None = None
    circuit: CircuitView | None = None
    spent_today: SpentToday | None = None
