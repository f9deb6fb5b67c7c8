"""The overview: numbers of tasks by status, recent results, workers, and problems."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from keruta.domain.catalog.budgets import SpentToday


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that ended within an hour or a day. Seconds are means: from submit to start, and from start to end.

    `started`: how many of them had started.
    """

    begun: datetime
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    started: int = 0
    waited_seconds: float | None = None
    ran_seconds: float | None = None

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.cancelled


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker. `there`: it was heard of within a lease. `drained_by`: who said that it takes no new tasks."""

    id: str
    slots: int
    busy: int
    there: bool
    draining: bool
    seen_at: datetime
    registered_at: datetime
    left_at: datetime | None = None
    drained_by: str | None = None
    labels: dict[str, str] = {}


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now. `kind` is a stable word; `of` says what of."""

    kind: str
    of: str = ""
    count: int = 0
    message: str = ""
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class BudgetToday(SpentToday, frozen=True, kw_only=True):
    """Spending of a queue's budget today (UTC), with what is left of each limit."""

    queue: str
    tokens_left: float | None = None
    usd_left: float | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, for one reader. `capped`: there were more ends than are looked at; the newest count."""

    counts: dict[str, int]
    failed_today: int
    succeeded_today: int
    day: list[Span]
    week: list[Span]
    capped: bool
    workers: list[WorkerView]
    troubles: list[Trouble]
    budgets: list[BudgetToday] = []
