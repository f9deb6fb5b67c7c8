"""Times on pages in the reader's zone: the charts, the filter's dates, and exact times; each page names the zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import flask
import pytest

from keruta.domain.naming import earliest_id
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, closed


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


def in_zone(reader: Browser, zone: str, cookie: str = "keruta-zone") -> Browser:
    reader.client.set_cookie(cookie, zone)
    return reader


def submitted(world: World, at: datetime, name: str) -> str:
    """A task that was submitted then."""
    task = closed(world.document(world.submit(name=name)))
    task["_id"] = earliest_id(at)
    world.database["tasks"].insert_one({**task, "created_at": at})
    return str(task["_id"])


def test_charts_are_in_the_readers_zone_which_is_named(world: World, ann: Browser) -> None:
    """Midnight of the reader's day is where each day of the table begins."""
    page = in_zone(ann, "Asia/Kolkata").ask("GET", "/")[1]

    assert "in the time zone Asia/Kolkata" in page
    assert "<th>From (Asia/Kolkata)</th>" in page
    begun = re.findall(r"<tr><td>(\d\d-\d\d) (\d\d:\d\d)</td>", page)
    assert len(begun) == 24 + 7
    assert {clock for _, clock in begun[24:]} == {"00:00"}


@pytest.mark.parametrize("hostile", ["", "../../etc/passwd", "localtime", "Mars/Base", "UTC\x00", "<b>", "a" * 4000])
def test_a_zone_that_is_none_leaves_utc(world: World, ann: Browser, hostile: str) -> None:
    """The cookie may hold anything."""
    page = in_zone(ann, hostile).ask("GET", "/")[1]

    assert "in the time zone UTC" in page
    assert "passwd" not in page


def test_dates_of_the_filter_are_in_the_zone_of_the_address(world: World, ann: Browser) -> None:
    """A link means the same to every reader; without a zone in it, dates are in the reader's own."""
    early = submitted(world, datetime(2026, 11, 26, 14, 30, tzinfo=UTC), "early")
    late = submitted(world, datetime(2026, 11, 26, 15, 30, tzinfo=UTC), "late")
    dates = "since=2026-11-27T00:00&until=2026-11-28T00:00"

    linked = ann.ask("GET", f"/tasks?{dates}&zone=Asia/Tokyo")[1]
    own = in_zone(ann, "Asia/Tokyo").ask("GET", f"/tasks?{dates}")[1]
    utc = in_zone(ann, "UTC").ask("GET", f"/tasks?{dates}")[1]

    for page in (linked, own):
        assert f"/tasks/{late}" in page
        assert f"/tasks/{early}" not in page
        assert "From (Asia/Tokyo)" in page
        assert 'value="2026-11-27T00:00"' in page
    assert f"/tasks/{late}" not in utc
    assert "From (UTC)" in utc


def test_a_time_with_an_offset_is_shown_in_the_readers_zone(world: World, ann: Browser) -> None:
    page = in_zone(ann, "Asia/Tokyo").ask("GET", "/tasks?since=2026-11-26T15:00:00Z")[1]

    assert 'name="since" value="2026-11-27T00:00"' in page


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59", "2026-11-26", "2026-13-01T00:00", "soon"])
def test_no_date_is_a_fault_of_keruta(world: World, ann: Browser, at: str) -> None:
    for zone in ("Asia/Tokyo", "America/Los_Angeles"):
        status, _ = ann.ask("GET", f"/tasks?since={at}&until={at}&zone={zone}")
        assert status in (200, 422)


def test_the_api_takes_a_time_without_zone_as_utc(world: World, ann: Browser) -> None:
    task = submitted(world, datetime(2026, 11, 26, 15, 30, tzinfo=UTC), "one")

    assert task not in in_zone(ann, "Asia/Tokyo").ask("GET", "/api/v1/tasks?since=2026-11-27T00:00")[1]
    assert task in ann.ask("GET", "/api/v1/tasks?since=2026-11-26T15:30")[1]


def test_exact_times_say_how_far_they_are_from_utc(world: World, ann: Browser) -> None:
    submitted(world, datetime(2026, 11, 26, 15, 30, tzinfo=UTC), "one")

    assert "2026-11-27 00:30:00 UTC+09:00</time>" in in_zone(ann, "Asia/Tokyo").ask("GET", "/tasks")[1]
    assert "2026-11-26 15:30:00 UTC</time>" in in_zone(ann, "UTC").ask("GET", "/tasks")[1]


def test_a_reader_chooses_a_zone_without_scripts(world: World, ann: Browser) -> None:
    """The choice goes before what the browser says, until it is taken back."""
    in_zone(ann, "Asia/Tokyo")

    ann.client.post("/auth/zone", data={"zone": "Europe/Berlin", "next": "/"})
    chosen = ann.ask("GET", "/")[1]
    refused = ann.client.post("/auth/zone", data={"zone": "Mars/Base", "next": "/"}, follow_redirects=True).text
    ann.client.post("/auth/zone", data={"zone": " ", "next": "//evil.example/"})

    assert "in the time zone Europe/Berlin" in chosen
    assert 'data-zone="Europe/Berlin"' in chosen
    assert "there is no such time zone" in refused
    assert "in the time zone Europe/Berlin" in refused
    assert "in the time zone Asia/Tokyo" in ann.ask("GET", "/")[1]
