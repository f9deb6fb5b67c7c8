"""Activity of one repository, queue or worker. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from keruta.domain.overview import Span
from keruta.domain.task import TaskSummary

Kind = Literal["repository", "queue", "worker"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A repository or a queue by its name in the catalog, or a worker by its id."""

    kind: Kind
    name: str

    @property
    def facet(self) -> str | None:
        """Return the facet of its tasks; a worker's tasks have none."""
        return None if self.kind == "worker" else f"{self.kind}={self.name}"


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Activity of one repository, queue or worker, of what one reader may see.

    Args:
        at_work: tasks that have begun and not ended, newest first.
        waiting: tasks that are queued, oldest first.
        more_open: there are more open tasks than are looked through.
        recent: the newest tasks that have ended.
        day, week: what ended in each hour and day of the reader's zone.
        capped: more tasks were submitted in the week than are looked through; the newest count.
    """

    at_work: Sequence[TaskSummary]
    waiting: Sequence[TaskSummary]
    more_open: bool
    recent: Sequence[TaskSummary]
    day: Sequence[Span]
    week: Sequence[Span]
    capped: bool

    @property
    def succeeded_share(self) -> float | None:
        """Return how many of a hundred tasks succeeded of those that succeeded or failed within the week."""
        good, bad = sum(span.succeeded for span in self.week), sum(span.failed for span in self.week)
        return 100 * good / (good + bad) if good + bad else None

    @property
    def ran_seconds(self) -> float | None:
        """Return the mean duration of the week, by days as they count."""
        known = [(span.ran_seconds, span.started) for span in self.week if span.ran_seconds is not None]
        count = sum(started for _, started in known)
        return sum(seconds * started for seconds, started in known) / count if count else None
