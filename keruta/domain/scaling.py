"""Size of the worker pool, as pure functions."""

from __future__ import annotations

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a pool's size.

    Args:
        least: workers that are always there.
        most: workers at the most.
        slots: how many attempts each of them makes at once.
        calm_seconds: how long fewer must have been enough before there are fewer.
    """

    least: int
    most: int
    slots: int
    calm_seconds: float

    @property
    def tasks_that_count(self) -> int:
        """More tasks than this ask for no more workers."""
        return self.most * self.slots


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that has registered."""

    id: str
    held: int = 0
    draining: bool = False


def workers_wanted(tasks: int, bounds: Bounds) -> int:
    """Return the number of workers for this many running or runnable tasks."""
    return min(max(-(-tasks // bounds.slots), bounds.least), bounds.most)
