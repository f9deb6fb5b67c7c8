"""Filters of task lists, and parts of logs as they are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from keruta.domain.messages import message
from keruta.errors import InvalidRequest


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of a task list.

    Args:
        status: one of them, or `open` for all that have not ended.
        facets: as `queue=…`, `repository=…`, `owner=…`, `label=key=value`; all of them hold.
        terms: parts of the name or of the id, as `keruta.domain.words.terms` makes them; all of them are there.
        since, until: submitted from then on, and before then.
    """

    status: str | None = None
    oldest_first: bool = False
    facets: Sequence[str] = msgspec.field(default_factory=tuple)
    terms: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a log as it is read."""

    attempt: int
    sequence: int
    at: datetime
    system: bool
    data: bytes


def parse_label(label: str) -> str:
    """The facet of a query's `key=value`. Raises InvalidRequest."""
    if not re.fullmatch(r"[^=]+=.*", label):
        raise InvalidRequest(message("http_label"), faults=[{"at": "?label", "message": "key=value"}])
    return f"label={label}"
