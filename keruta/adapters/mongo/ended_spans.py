"""Ends of tasks counted by the quarter of an hour, and put together to hours and days of any zone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from keruta.domain.lifecycle import ENDED
from keruta.domain.overview import Span

HOURS, DAYS = 24, 7
BIN_MINUTES = 15  # every zone is a multiple of this from UTC


def counting_stages() -> list[dict[str, Any]]:
    """Return the stages that count tasks that have ended, by the quarter of an hour and by their end."""
    started = "$attempt.started_at"
    waited = {"$cond": [{"$ifNull": [started, False]}, {"$subtract": [started, "$created_at"]}, None]}
    ran = {"$cond": [{"$ifNull": [started, False]}, {"$subtract": ["$ended_at", started]}, None]}
    bins = {"date": "$ended_at", "unit": "minute", "binSize": BIN_MINUTES}
    return [
        {"$project": {"status": 1, "created_at": 1, "ended_at": {"$ifNull": ["$ended_at", "$changed_at"]},
                      "attempt.started_at": 1}},
        {"$group": {
            "_id": {"at": {"$dateTrunc": bins}, "status": "$status"},
            "count": {"$sum": 1}, "started": {"$sum": {"$cond": [{"$ifNull": [started, False]}, 1, 0]}},
            "waited": {"$sum": waited}, "ran": {"$sum": ran},
        }},
    ]  # fmt: skip


def last_hours(now: datetime, zone: tzinfo, count: int) -> list[datetime]:
    """Return when the last hours of a zone's clock began, oldest first. Hours are counted in UTC: none is left out."""
    whole = now.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    return [(whole - timedelta(hours=back)).astimezone(zone) for back in range(count - 1, -1, -1)]


def last_days(now: datetime, zone: tzinfo, count: int) -> list[datetime]:
    """Return when the last days of a zone began, oldest first; a day may have 23 or 25 hours."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return [midnight - timedelta(days=back) for back in range(count - 1, -1, -1)]  # by the clock on the wall


def spans(rows: Sequence[Mapping[str, Any]], begins: Sequence[datetime]) -> list[Span]:
    """Return what ended in each span; each goes on until the next one, the last one until now."""
    found: list[list[Mapping[str, Any]]] = [[] for _ in begins]
    bounds = [begun.astimezone(UTC) for begun in begins]
    for row in rows:
        at = bisect_right(bounds, row["_id"]["at"]) - 1
        if at >= 0:
            found[at].append(row)
    return [_span(begun, here) for begun, here in zip(begins, found, strict=True)]


def _span(begun: datetime, rows: Sequence[Mapping[str, Any]]) -> Span:
    counts = {str(end): sum(row["count"] for row in rows if row["_id"]["status"] == end) for end in ENDED}
    started = sum(row["started"] for row in rows)
    return Span(
        begun=begun, started=started, succeeded=counts["succeeded"], failed=counts["failed"],
        cancelled=counts["cancelled"],
        waited_seconds=sum(row["waited"] for row in rows) / started / 1000 if started else None,
        ran_seconds=sum(row["ran"] for row in rows) / started / 1000 if started else None,
    )  # fmt: skip
