"""Hours and days of the overview's charts, in zones with odd offsets and changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from keruta.adapters.mongo.ended_spans import last_days, last_hours, spans


def row(at: datetime, **more: Any) -> dict[str, Any]:
    return {"_id": {"at": at, "status": "succeeded"}, "count": 1, "started": 0, "waited": 0, "ran": 0, **more}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_a_day_begins_at_the_zones_midnight(zone: str) -> None:
    begins = last_days(datetime(2026, 11, 27, 16, 40, tzinfo=UTC), ZoneInfo(zone), 7)

    assert len(begins) == 7
    assert {(begun.hour, begun.minute) for begun in begins} == {(0, 0)}


def test_an_end_counts_on_the_day_of_the_reader() -> None:
    """16:00 UTC is the next day in Tokyo."""
    now, end = datetime(2026, 11, 27, 16, 40, tzinfo=UTC), row(datetime(2026, 11, 27, 15, 0, tzinfo=UTC))

    tokyo = spans([end], last_days(now, ZoneInfo("Asia/Tokyo"), 2))
    utc = spans([end], last_days(now, UTC, 2))

    assert [(span.begun.day, span.succeeded) for span in tokyo] == [(27, 0), (28, 1)]
    assert [(span.begun.day, span.succeeded) for span in utc] == [(26, 0), (27, 1)]


@pytest.mark.parametrize(
    ("now", "zone"),
    [
        (datetime(2026, 3, 29, 12, 10, tzinfo=UTC), "Europe/Berlin"),  # the clock goes forward
        (datetime(2026, 10, 25, 12, 10, tzinfo=UTC), "Europe/Berlin"),  # and back
        (datetime(2026, 4, 4, 20, 10, tzinfo=UTC), "Australia/Lord_Howe"),  # by half an hour
        (datetime(2026, 10, 25, 12, 10, tzinfo=UTC), "Asia/Kathmandu"),
    ],
)
def test_each_end_of_a_day_with_a_change_of_the_clock_counts_once(now: datetime, zone: str) -> None:
    begins = last_hours(now, ZoneInfo(zone), 24)
    ends = [row(now - timedelta(minutes=15 * back)) for back in range(90)]

    assert len({begun.astimezone(UTC) for begun in begins}) == 24
    assert begins[-1] <= now < begins[-1] + timedelta(hours=1)
    assert sum(span.succeeded for span in spans(ends, begins)) == 90


def test_what_ended_before_the_first_span_is_not_counted() -> None:
    now = datetime(2026, 11, 27, 16, 40, tzinfo=UTC)

    assert [span.succeeded for span in spans([row(now - timedelta(days=3))], last_days(now, UTC, 2))] == [0, 0]


def test_means_are_over_what_started() -> None:
    now = datetime(2026, 11, 27, 16, 40, tzinfo=UTC)
    rows = [row(now, started=1, waited=2000, ran=4000), row(now, started=1, waited=4000, ran=8000), row(now)]

    (only,) = spans(rows, last_days(now, UTC, 1))

    assert (only.succeeded, only.waited_seconds, only.ran_seconds) == (3, 3.0, 6.0)
