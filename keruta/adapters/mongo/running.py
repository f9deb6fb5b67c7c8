"""Filters of running tasks and of tasks that a worker still has, each named once. The statuses are
`keruta.domain.lifecycle`'s.

Each repeats the condition of the partial index that it is to use.
"""

from __future__ import annotations

from collections.abc import Iterable

from keruta.domain.lifecycle import HELD, LEASED
from keruta.ports import Document

IS_LEASED: Document = {"$in": sorted(LEASED)}
IS_HELD: Document = {"$in": sorted(HELD)}

# By the index `holder`.
RUNNING: Document = {"holder": {"$exists": True}, "status": IS_LEASED}
HELD_BY_ANYONE: Document = {"holder": {"$exists": True}, "status": IS_HELD}

# By the index `lease_until`.
WITH_LEASE: Document = {"lease_until": {"$exists": True}, "status": IS_LEASED}


def running_on(workers: Iterable[str]) -> Document:
    """Find the tasks that take a slot of these workers."""
    return {"holder": {"$in": list(workers)}, "status": IS_LEASED}


def held_by(workers: Iterable[str]) -> Document:
    """Find the tasks that these workers may still be at work on."""
    return {"holder": {"$in": list(workers)}, "status": IS_HELD}
