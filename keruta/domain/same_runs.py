"""Runs of the same: tasks of one trigger, or of one repository, name and script. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from keruta.domain.task import Origin, TaskSummary, TaskView

DIGEST_LETTERS = 24


def same_facet(
    *, trigger: Origin | None, repository: str, name: str | None, script: str | None, command: Sequence[str] | None,
    prompt: str | None,
) -> str:  # fmt: skip
    """Return the facet that tasks have in common which are runs of the same.

    Args:
        trigger: what a trigger started the task for: then its trigger alone counts.
        repository: its address, which a rename in the catalog does not change.
    """
    if trigger is not None:
        what: list[object] = ["trigger", trigger.trigger]
    else:
        what = ["task", repository, name, script, list(command) if command is not None else None, prompt]
    return f"same={hashlib.sha256(json.dumps(what).encode()).hexdigest()[:DIGEST_LETTERS]}"


def facet_of(view: TaskView) -> str:
    """Return the facet of the runs of the same as a task."""
    return same_facet(
        trigger=view.origin, repository=view.repository.url, name=view.name, script=view.script, command=view.command,
        prompt=view.prompt,
    )  # fmt: skip


class Streak(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that have failed in a row, up to one of them.

    Args:
        count: of them, with that one.
        first: the first of them that is known.
        good: the last one before them that succeeded; None where that is not known.
    """

    count: int
    first: str
    since: datetime
    good: str | None = None


def failing_since(this: TaskSummary, older: Sequence[TaskSummary]) -> Streak | None:
    """Return since when runs fail, where this one did; cancelled and open ones say nothing.

    Args:
        older: the runs before it, newest first.
    """
    if this.status != "failed":
        return None
    first, count, good = this, 1, None
    for one in older:
        if one.status == "succeeded":
            good = one.id
            break
        if one.status == "failed":
            first, count = one, count + 1
    return Streak(count=count, first=first.id, since=first.created_at, good=good)
