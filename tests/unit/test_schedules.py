"""Times that a cron expression names in a time zone, and what is said of a bad one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.decode import convert
from keruta.domain.deliveries import event_of_run, event_of_time, group_of, request_of, verdict
from keruta.domain.messages import as_message
from keruta.domain.schedules import latest, next_after, offset, upcoming

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def trigger(**fields: Any) -> TriggerSpec:
    spec, faults = convert({"name": "t", "repository": "app", "script": "true", **fields}, TriggerSpec)
    assert spec is not None, faults
    return spec


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next times as UTC, without the year."""
    at = datetime.fromisoformat(after)
    found = []
    for _ in range(count):
        following = next_after(expression, zone, at)
        assert following is not None
        at = following
        found.append(f"{at:%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        # The clock goes from 02:00 to 03:00 on 29 March 2026, at 01:00 in UTC.
        ("30 1 * * *", ["03-29 00:30", "03-29 23:30"]),
        ("30 2 * * *", ["03-29 01:00", "03-30 00:30"]),
        ("0 3 * * *", ["03-29 01:00", "03-30 01:00"]),
        ("0,30 2 * * *", ["03-29 01:00", "03-30 00:00"]),
        ("0 * * * *", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        ("*/30 * * * *", ["03-29 00:00", "03-29 00:30", "03-29 01:00", "03-29 01:30"]),
    ],
)
def test_a_time_that_spring_leaves_out_comes_once_at_the_change(expression: str, wanted: list[str]) -> None:
    assert times(expression, "Europe/Berlin", "2026-03-28T23:30:00+00:00", len(wanted)) == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        # The clock goes from 03:00 to 02:00 on 25 October 2026, at 01:00 in UTC.
        ("30 2 * * *", ["10-25 00:30", "10-26 01:30"]),
        ("0 3 * * *", ["10-25 02:00", "10-26 02:00"]),
        ("0 * * * *", ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),
        ("*/30 * * * *", ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"]),
    ],
)
def test_a_time_that_autumn_brings_twice_comes_once(expression: str, wanted: list[str]) -> None:
    """An expression with a `*` in its minute or hour goes on by the clock."""
    assert times(expression, "Europe/Berlin", "2026-10-24T23:30:00+00:00", len(wanted)) == wanted


def test_a_start_within_the_second_of_two_equal_hours_does_not_go_back() -> None:
    second = "2026-10-25T01:15:00+00:00"  # 02:15 for the second time

    assert times("30 2 * * *", "Europe/Berlin", second, 1) == ["10-26 01:30"]


def test_a_zone_without_changes_of_the_clock_has_the_same_hours_all_year() -> None:
    for day in ("2026-03-28", "2026-07-01", "2026-10-24"):
        assert times("30 2 * * *", "Asia/Tokyo", f"{day}T18:00:00+00:00", 1)[0].endswith("17:30")


def test_29_february_comes_in_leap_years() -> None:
    found = upcoming("0 0 29 2 *", "UTC", timedelta(), NOON)

    assert [at.year for at in found] == [2028, 2032, 2036, 2040, 2044]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia", "UTC"])
@pytest.mark.parametrize("expression", ["*/20 * * * *", "30 0-3 * * *", "0 */2 * * *", "15 2 * * SUN"])
def test_times_follow_each_other_through_a_year(zone: str, expression: str) -> None:
    at, count = datetime(2026, 1, 1, tzinfo=UTC), 0
    while at.year == 2026:
        following = next_after(expression, zone, at)
        assert following is not None
        assert at < following < at + timedelta(days=8)
        at, count = following, count + 1
    assert count > 50


def test_the_last_time_that_has_come_is_found_however_long_ago_the_first_was() -> None:
    first = datetime(2016, 1, 1, tzinfo=UTC)

    for expression, wanted in (("* * * * *", NOON), ("30 2 * * *", NOON.replace(hour=1, minute=30))):
        assert latest(expression, "Europe/Berlin", first, NOON) == wanted
    assert latest("0 0 29 2 *", "UTC", datetime(2024, 2, 29, tzinfo=UTC), NOON).year == 2024
    assert latest("0 0 1 1 *", "UTC", first, first) == first


def test_jitter_is_bounded_stable_and_other_for_other_triggers() -> None:
    drawn = [offset(f"t{number}", 600) for number in range(200)]

    assert drawn == [offset(f"t{number}", 600) for number in range(200)]
    assert timedelta() <= min(drawn) < max(drawn) <= timedelta(seconds=600)
    assert len(set(drawn)) > 100
    assert offset("t1", 0) == timedelta()


def test_the_next_times_are_as_much_later_as_the_trigger_starts() -> None:
    """One whose time has come, but not its later start, is among them."""
    late = timedelta(minutes=10)

    found = upcoming("0 * * * *", "UTC", late, NOON + timedelta(minutes=5))

    assert found == [NOON + late + timedelta(hours=hours) for hours in range(5)]
    assert upcoming("0 * * * *", "UTC", late, NOON + late)[0] == NOON + late + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "at", "code"),
    [
        ({"schedule": "0 2 * *"}, "/schedule", "schedule_fields"),
        ({"schedule": "0 0 2 * * *"}, "/schedule", "schedule_fields"),
        ({"schedule": "@daily"}, "/schedule", "schedule_fields"),
        ({"schedule": "60 2 * * *"}, "/schedule", "schedule_field"),
        ({"schedule": "0 24 * * *"}, "/schedule", "schedule_field"),
        ({"schedule": "0 2 32 * *"}, "/schedule", "schedule_field"),
        ({"schedule": "0 2 * 13 *"}, "/schedule", "schedule_field"),
        ({"schedule": "0 2 * * 8"}, "/schedule", "schedule_field"),
        ({"schedule": "*/0 2 * * *"}, "/schedule", "schedule_field"),
        ({"schedule": "5-1 2 * * *"}, "/schedule", "schedule_field"),
        ({"schedule": "٣ 2 * * *"}, "/schedule", "schedule_field"),
        ({"schedule": "0 0 30 2 *"}, "/schedule", "schedule_never"),
        ({"schedule": "0 0 31 4,6 *"}, "/schedule", "schedule_never"),
        ({"schedule": "0 0 */31 * MON#5"}, "/schedule", "schedule_never"),
        ({"schedule": "0 2 * * *", "time_zone": "Europe/Berlim"}, "/time_zone", "schedule_zone"),
        ({"schedule": "0 2 * * *", "time_zone": "../../etc/passwd"}, "/time_zone", "schedule_zone"),
        ({"schedule": "0 2 * * *", "time_zone": "Europe"}, "/time_zone", "schedule_zone"),
        ({"schedule": "0 2 * * *", "time_zone": "localtime"}, "/time_zone", "schedule_zone"),
        ({}, "/events", "trigger_without_cause"),
        ({"events": ["push"], "webhook_secret": "s"}, "/provider", "trigger_provider"),
        ({"events": ["push"], "provider": "gitea"}, "/webhook_secret", "trigger_secret_needed"),
    ],
)
def test_a_bad_schedule_is_refused_where_it_is_wrong(fields: dict[str, Any], at: str, code: str) -> None:
    spec = TriggerSpec(name="t", repository="app", script="true", **fields)

    assert [(where, as_message(said).code) for where, said in spec.faults()] == [(at, code)]


def test_a_time_reaches_the_script_as_variables_and_the_task_runs_at_the_default_branch() -> None:
    request = request_of(trigger(schedule="0 2 * * *"), event_of_time(NOON, missed=True))

    assert request.repository.ref is None
    assert request.env == {
        "KERUTA_PARAM_EVENT": "schedule", "KERUTA_PARAM_ACTION": "missed", "KERUTA_PARAM_TIME": "2026-01-01T12:00:00Z",
    }  # fmt: skip


def test_a_paused_trigger_or_one_without_a_schedule_starts_nothing_by_time_but_by_hand() -> None:
    spec = trigger(schedule="0 2 * * *", paused=True)
    time, run = event_of_time(NOON, missed=False), event_of_run("1", "ann", NOON)

    assert verdict(spec, time, url="", approved=False).state == "ignored"
    assert verdict(spec, run, url="", approved=False).state == "start"
    assert group_of(spec, time) == group_of(spec, run)


@pytest.mark.parametrize(("missed", "replayed", "state"), [
    ("skip", False, "skipped"), ("skip", True, "start"), ("run_once", False, "start"),
])  # fmt: skip
def test_a_missed_time_is_skipped_unless_the_trigger_or_a_person_says_otherwise(
    missed: str, replayed: bool, state: str
) -> None:
    spec = trigger(schedule="0 2 * * *", missed=missed)

    assert verdict(spec, event_of_time(NOON, missed=True), url="", approved=False, replayed=replayed).state == state
