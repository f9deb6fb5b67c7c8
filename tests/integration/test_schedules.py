"""Triggers that the clock or a person starts, on a real database: each time once, and a stopped system catches up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import pytest

from keruta.adapters.mongo.schedules import MongoSchedules
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import DeliveryView
from keruta.domain.schedules import offset
from keruta.errors import Forbidden, NotFound
from keruta.services.deliveries import process_due
from keruta.services.schedules import note_times
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person

EDITOR = person("eve", "developer")
MINUTE = timedelta(minutes=1)


class Clock:
    """A trigger `t` and the ticks of a dispatcher, at moments that a test chooses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.schedules = MongoSchedules(world.database)
        world.database["users"].insert_one({
            "_id": EDITOR.subject, "name": EDITOR.name, "mail": "", "roles": sorted(EDITOR.roles), "groups": [],
            "last_seen_at": datetime.now(UTC),
        })  # fmt: skip
        world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url="https://git.example.com/team/app.git"))

    def trigger(self, **fields: Any) -> datetime:
        """Save it; return the time that comes next."""
        self.world.catalogs["trigger"].create(EDITOR, self.spec(**fields))
        at: datetime = self.row()["next_at"]
        return at

    def spec(self, **fields: Any) -> TriggerSpec:
        given: dict[str, Any] = {"name": "t", "schedule": "0 2 * * *", "script": "true", **fields}
        return TriggerSpec(repository="app", **given)

    def change(self, **fields: Any) -> None:
        self.world.catalogs["trigger"].replace(EDITOR, "t", self.spec(**fields), None)

    def row(self) -> dict[str, Any]:
        row = self.world.database["triggers"].find_one({"_id": "t"})
        assert row is not None
        return row

    def tick(self, now: datetime) -> None:
        note_times(self.schedules, self.world.deliveries, now)
        process_due(self.world.delivery_ports)

    def deliveries(self) -> list[DeliveryView]:
        """Oldest first."""
        return self.world.seen_deliveries.page(ANN, "t", limit=200, cursor=None).items[::-1]

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.world.database["tasks"].find().sort("_id", 1))


@pytest.fixture
def clock(world: World) -> Clock:
    return Clock(world)


def test_a_time_starts_one_task_and_the_next_one_comes_a_day_later(clock: Clock) -> None:
    at = clock.trigger()

    clock.tick(at - MINUTE)
    assert clock.tasks() == []
    clock.tick(at)
    clock.tick(at + MINUTE)

    (task,), (delivery,) = clock.tasks(), clock.deliveries()
    assert (task["owner"], task["spec"]["env"]["KERUTA_PARAM_TIME"]) == ("eve", f"{at:%Y-%m-%dT%H:%M:%SZ}")
    assert (delivery.event, delivery.state, delivery.task) == ("schedule", "started", task["_id"])
    assert clock.row()["next_at"] == at + timedelta(days=1)
    clock.tick(at + timedelta(days=1))
    assert len(clock.tasks()) == 2


def test_two_dispatchers_at_once_start_each_time_once(clock: Clock) -> None:
    at = clock.trigger(schedule="* * * * *")
    barrier = threading.Barrier(4)

    def ticks() -> None:
        for number in range(8):
            barrier.wait(30)
            clock.tick(at + number * MINUTE)

    threads = [threading.Thread(target=ticks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.tick(at + 7 * MINUTE)

    assert len(clock.tasks()) == 8
    assert {one.state for one in clock.deliveries()} == {"started"}
    assert clock.row()["next_at"] == at + 8 * MINUTE


@pytest.mark.parametrize("step", ["add", "advance"])
def test_a_dispatcher_that_dies_between_two_writes_leaves_one_task(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    at = clock.trigger()
    thing: Any = clock.schedules if step == "advance" else clock.world.deliveries
    with monkeypatch.context() as patch:
        patch.setattr(thing, step, dies_after(getattr(thing, step)))
        with pytest.raises(KeyboardInterrupt):
            clock.tick(at)

    clock.tick(at + MINUTE)

    assert len(clock.tasks()) == 1


def dies_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def does_and_dies(*args: Any, **named: Any) -> Any:
        function(*args, **named)
        raise KeyboardInterrupt

    return does_and_dies


@pytest.mark.parametrize(("missed", "states", "tasks"), [("skip", ["skipped"], 0), ("run_once", ["started"], 1)])
def test_a_system_that_was_stopped_for_a_day_catches_up_as_the_trigger_says(
    clock: Clock, missed: str, states: list[str], tasks: int
) -> None:
    """Of 23 times that were missed, at most the last one starts a task; the next one comes as ever."""
    at = clock.trigger(schedule="0 * * * *", missed=missed)
    back = at + timedelta(hours=22, minutes=30)

    clock.tick(back)
    clock.tick(back + MINUTE)

    assert [one.state for one in clock.deliveries()] == states
    assert clock.deliveries()[0].delivery == f"{at + timedelta(hours=22):%Y-%m-%dT%H:%M:%SZ}"
    assert len(clock.tasks()) == tasks
    clock.tick(back + 30 * MINUTE)
    assert [one.state for one in clock.deliveries()] == [*states, "started"]


def test_a_missed_time_that_was_skipped_is_started_by_its_replay(clock: Clock) -> None:
    at = clock.trigger()
    clock.tick(at + timedelta(hours=2))
    clock.world.seen_deliveries.replay(ANN, "t", clock.deliveries()[0].id)

    clock.tick(at + timedelta(hours=2))

    assert [one.state for one in clock.deliveries()] == ["skipped", "started"]


def test_jitter_puts_the_start_off_and_a_start_in_its_time_is_not_late(clock: Clock) -> None:
    at = clock.trigger(jitter_seconds=3600)
    late = offset("t", 3600)
    assert late > 5 * MINUTE, "choose another name for the trigger"

    clock.tick(at + late - timedelta(seconds=1))
    assert clock.deliveries() == []
    clock.tick(at + late)

    assert [one.state for one in clock.deliveries()] == ["started"]
    assert clock.world.catalogs["trigger"].show(ANN, "t").next_times[0] == at + late


def test_a_pause_misses_nothing_and_its_end_counts_from_then_on(clock: Clock) -> None:
    at = clock.trigger()
    clock.change(paused=True)
    clock.tick(at + timedelta(days=3))
    assert (clock.deliveries(), clock.world.catalogs["trigger"].show(ANN, "t").next_times) == ([], [])

    clock.change()
    clock.tick(at - MINUTE)

    assert (clock.deliveries(), clock.row()["next_at"]) == ([], at)


def test_a_pause_between_a_time_and_its_task_starts_nothing(clock: Clock) -> None:
    at = clock.trigger()
    note_times(clock.schedules, clock.world.deliveries, at)
    clock.change(paused=True)

    process_due(clock.world.delivery_ports)

    assert [(one.state, one.message_code) for one in clock.deliveries()] == [("ignored", "delivery_paused")]


def test_a_change_of_the_schedule_counts_at_once_and_another_change_leaves_it(clock: Clock) -> None:
    at = clock.trigger()
    clock.change(description="other")
    assert clock.row()["next_at"] == at

    clock.change(time_zone="Asia/Tokyo")
    assert clock.row()["next_at"].hour == 17
    clock.change(schedule=None, provider="gitea", events=["push"], webhook_secret=None)
    assert clock.row()["due_at"] is None


def test_a_dispatcher_that_was_slow_does_not_undo_a_change_of_the_schedule(clock: Clock) -> None:
    at = clock.trigger()
    (due,) = clock.schedules.come(at)
    clock.change(schedule="0 5 * * *")
    changed = clock.row()["next_at"]

    clock.schedules.advance(due, at)

    assert clock.row()["next_at"] == changed


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": ["viewer"]}])
def test_an_editor_who_lost_the_right_starts_nothing(clock: Clock, change: dict[str, Any]) -> None:
    at = clock.trigger()
    clock.world.database["users"].update_one({"_id": EDITOR.subject}, {"$set": change})

    clock.tick(at)

    assert [(one.state, one.message_code) for one in clock.deliveries()] == [("failed", "delivery_editor")]
    assert clock.tasks() == []


def test_while_the_last_task_runs_the_trigger_does_as_it_says(clock: Clock) -> None:
    at = clock.trigger(schedule="* * * * *", concurrency="skip")
    clock.tick(at)
    clock.tick(at + MINUTE)

    assert [one.state for one in clock.deliveries()] == ["started", "skipped"]


def test_a_zone_that_this_machine_does_not_have_holds_up_no_other_trigger(clock: Clock) -> None:
    at = clock.trigger()
    clock.world.catalogs["trigger"].create(EDITOR, clock.spec(name="a"))
    clock.world.database["triggers"].update_one({"_id": "a"}, {"$set": {"spec.time_zone": "Mars/Base"}})

    clock.tick(at)

    assert len(clock.tasks()) == 1


def test_who_may_run_a_trigger_starts_it_now_also_while_it_is_paused(clock: Clock) -> None:
    clock.trigger(paused=True, access=Access(read=["name:reader"], run=["name:user"], manage=["name:eve"]))
    for _ in range(2):
        assert clock.world.seen_deliveries.run(person("user", "developer"), "t").state == "received"
    clock.tick(datetime.now(UTC))

    assert [(one.event, one.sender, one.state) for one in clock.deliveries()] == [("run", "user", "started")] * 2
    assert [task["owner"] for task in clock.tasks()] == ["eve", "eve"]
    with pytest.raises(Forbidden):
        clock.world.seen_deliveries.run(person("reader", "developer"), "t")
    with pytest.raises(NotFound):
        clock.world.seen_deliveries.run(person("stranger", "developer"), "t")


def test_the_triggers_page_shows_the_next_times_and_starts_it(clock: Clock, app: flask.Flask) -> None:
    at = clock.trigger()
    browser = signed_in(app, ANN)

    _, page = browser.ask("GET", "/triggers/t")
    assert "Next times" in page
    assert page.count("<time") >= 5
    assert f"{at:%Y-%m-%d}" in page
    assert browser.ask("POST", "/triggers/t/run")[0] == 303
    _, listed = browser.ask("GET", "/triggers/t/deliveries")
    assert "ann" in listed
    assert [one.event for one in clock.deliveries()] == ["run"]
