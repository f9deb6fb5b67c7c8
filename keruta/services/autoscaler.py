"""Sizes the pool of workers by what runs and waits. Run by the tick, by one process at a time.

By level, not by edge: each round looks at what is there and at what is wanted, so a round that failed half-way, or was
never made, is made good by the next. Growing is done at once; shrinking once fewer have been enough for a while, and
what holds tasks goes last.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from keruta.domain.messages import Message
from keruta.domain.scaling import Bounds, WorkerState, workers_wanted
from keruta.errors import PoolError

log = logging.getLogger(__name__)


class WorkerProvider(Protocol):
    """Provider that starts and ends workers."""

    def resize(self, wanted: int, workers: Mapping[str, WorkerState]) -> Collection[str]:
        """Bring the pool to so many workers; none that holds a task is ended where others can be.

        Args:
            workers: those that have registered and are not gone, by id.

        Returns:
            Those that are to get nothing more, so that they can be ended in a later round.

        Raises:
            PoolError: what was asked to do so would not, or did not answer.
        """
        ...


class PoolStore(Protocol):
    """Storage of the need for workers."""

    def take_turn(self) -> bool:
        """Return whether this process may make a round now: no other does, and the last one is long enough ago."""
        ...

    def end_turn(self, wanted: int, problem: Message | None) -> None: ...

    def tasks(self, most: int) -> int:
        """Return the number of tasks that run or could run now, counted up to `most`."""
        ...

    def highest(self, wanted: int, seconds: float) -> int:
        """The most that was wanted in the last so many seconds, now included."""
        ...

    def workers(self) -> Mapping[str, WorkerState]: ...

    def drain(self, workers: Collection[str]) -> None:
        """These get nothing more; others that got nothing more for the pool's sake get tasks again."""
        ...


def resize(store: PoolStore, provider: WorkerProvider, bounds: Bounds) -> None:
    """The pool is as large as its tasks need, or on its way there. What stands against it is logged and on record."""
    if not store.take_turn():
        return
    wanted: int = bounds.least
    problem: Message | None = None
    try:
        needed = workers_wanted(store.tasks(bounds.tasks_that_count), bounds)
        wanted = store.highest(needed, bounds.calm_seconds)
        store.drain(provider.resize(wanted, store.workers()))
    except PoolError as error:
        problem = error.message
        log.warning("pool not sized: %s", error, extra={"action": "pool_not_sized", "wanted": wanted})
    finally:
        store.end_turn(wanted, problem)
