"""The cost of a plan and of a page with 50,000 finished tasks: every query uses an index and reads only what it
returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from pymongo import monitoring

from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import connect
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.retention import MongoRetention
from keruta.adapters.mongo.task_queries import MongoReading
from keruta.domain.naming import new_id
from keruta.domain.task_list import TaskFilter
from keruta.services.scheduler import assign
from keruta.settings import Settings
from tests.support.mongod import Mongod
from tests.support.world import ANN, World, closed

FINISHED = 50_000
NOW = datetime.now(UTC)
SLACK = 4  # times what is returned, plus a few


@pytest.fixture(scope="module")
def old(mongod: Mongod) -> Iterator[World]:
    """50,000 finished tasks, 40 lanes that wait, 10 running, 100 queues and 1,000 repositories."""
    settings = Settings(mongo_url=mongod.url, mongo_database=f"t{new_id()}")
    world = World(connect(settings), settings)
    model = world.document(world.submit(labels={"team": "blue"}))
    finished = closed(model) | {"status": "succeeded"}
    for _ in range(FINISHED // 10_000):
        world.database["tasks"].insert_many([{**finished, "_id": new_id()} for _ in range(10_000)], ordered=False)
    for number in range(40):
        for _ in range(5):
            world.submit(owner=f"u{number % 8}", url=f"https://example.com/{number}.git")
    for kind, count in (("queues", 100), ("repositories", 1000)):
        collection = world.database[kind]
        model = world.database["queues"].find_one({}) or {}
        copies = [
            {**model, "_id": f"x{n}", "spec": {"name": f"x{n}", "max_running": 1, "url": ""}} for n in range(count)
        ]
        collection.insert_many(copies, ordered=False)
    world.worker(slots=10)
    world.assign()
    yield world
    world.database.client.drop_database(world.database.name)
    world.database.client.close()


class Commands(monitoring.CommandListener):
    """Remembers the commands that were sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate", "update", "delete", "findAndModify", "count", "distinct"):
            dropped = ("lsid", "$clusterTime", "$db", "txnNumber", "startTransaction", "autocommit", "writeConcern")
            self.seen.append({k: v for k, v in event.command.items() if k not in dropped})

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


LARGE = ("tasks", "logs", "queues", "repositories", "profiles", "audit")


def stages(plan: Any) -> Iterator[str]:
    """Every stage's name in an explained plan, but those that read a small collection beside a large one."""
    if isinstance(plan, dict):
        if "$unionWith" in plan and plan["$unionWith"]["coll"] not in LARGE:
            return
        if "stage" in plan:
            yield plan["stage"]
        for name, value in plan.items():
            if name != "rejectedPlans":
                yield from stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from stages(value)


def totals(plan: Any) -> tuple[int, int]:
    """Documents and keys examined, of all stages."""
    found: list[tuple[int, int]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "totalDocsExamined" in value:
                found.append((value["totalDocsExamined"], value["totalKeysExamined"]))
            for name, inner in value.items():
                if name != "rejectedPlans":
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(plan)
    return (max(d for d, _ in found), max(k for _, k in found)) if found else (0, 0)


def explained(world: World, command: dict[str, Any]) -> dict[str, Any]:
    """How a command was carried out. An index's bounds may be times that Python does not have."""
    options = CodecOptions[dict[str, Any]](datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    return world.database.command("explain", command, verbosity="executionStats", codec_options=options)


def check(world: World, seen: list[dict[str, Any]], most: int) -> None:
    """No command scans a collection of tasks, and none examines more than `most`."""
    looked_at = 0
    for command in seen:
        collection = next(iter(command.values()))
        if collection not in LARGE:
            continue
        if "update" in command and len(command.get("updates", [])) > 1:
            continue  # one by _id each
        plan = explained(world, command)
        assert "COLLSCAN" not in set(stages(plan)), command
        documents, keys = totals(plan)
        assert documents <= most, (documents, command)
        assert keys <= most * SLACK + 10, (keys, command)
        looked_at += 1
    assert looked_at


def block(world: World, worker: str) -> None:
    """A task waits until this worker no longer has its last attempt."""
    change = {"$set": {"blocked_by": {"worker": worker, "attempt": "a"}}, "$unset": {"claim": ""}}
    assert world.database["tasks"].update_one({"claim": {"$exists": True}}, change).modified_count
    assert blocked(world)


def blocked(world: World) -> int:
    return world.database["tasks"].count_documents({"blocked_by": {"$exists": True}})


@pytest.fixture
def watched(old: World) -> Iterator[tuple[World, Commands]]:
    commands = Commands()
    database = connect(old.settings, event_listeners=[commands])
    commands.seen.clear()
    world = World(database, old.settings)
    world.sessions = old.sessions
    yield world, commands
    database.client.close()


def test_an_assignment_costs_what_waits_not_what_has_been(watched: tuple[World, Commands]) -> None:
    """One index seek for each lane that waits; the history is never looked at."""
    world, commands = watched
    world.worker("w2", slots=3)
    commands.seen.clear()
    store = MongoAssignment(world.database, world.settings)

    assert assign(store, world.outbox, world.nudges) == 3

    check(world, commands.seen, most=64)
    heads = next(c for c in commands.seen if "aggregate" in c and "$sort" in str(c))
    assert "DISTINCT_SCAN" in set(stages(explained(world, heads)))


@pytest.mark.parametrize(
    "wanted",
    [
        TaskFilter(),
        TaskFilter(status="queued"),
        TaskFilter(status="succeeded"),
        TaskFilter(facets=["queue=default"]),
        TaskFilter(facets=["repository=https://example.com/3.git"]),
        TaskFilter(facets=["owner=u1"]),
        TaskFilter(facets=["label=team=blue"]),
        TaskFilter(facets=["label=no=such"]),
    ],
    ids=str,
)
def test_a_list_page_costs_what_it_shows(watched: tuple[World, Commands], wanted: TaskFilter) -> None:
    world, commands = watched

    page = MongoReading(world.database, world.settings).page(ANN, wanted, limit=20, cursor=None)

    check(world, commands.seen, most=len(page.items) + 2)


def test_a_page_far_back_costs_the_same(watched: tuple[World, Commands]) -> None:
    """A cursor is a place in the index, not a count."""
    world, commands = watched
    reading = MongoReading(world.database, world.settings)
    middle = world.database["tasks"].find({}, {"_id": 1}).sort("_id", 1).skip(FINISHED // 2).limit(1)[0]["_id"]
    commands.seen.clear()

    assert len(reading.page(ANN, TaskFilter(), limit=20, cursor=middle).items) == 20

    check(world, commands.seen, most=22)


@pytest.mark.parametrize(
    "wanted", [{"who": "bob"}, {"kind": "queue"}, {"of": "nightly"}, {"who": "bob", "of": "nightly"}]
)
def test_the_record_is_read_by_who_by_kind_and_by_name(watched: tuple[World, Commands], wanted: dict[str, str]) -> None:
    world, commands = watched
    record = world.database["audit"]
    record.delete_many({})
    record.insert_one({"_id": new_id(), "who": "bob", "action": "paused", "kind": "queue", "of": "nightly", "at": NOW})
    other = {"who": "ann", "action": "cancelled", "kind": "task", "at": NOW}
    record.insert_many([{**other, "_id": new_id(), "of": f"t{number}"} for number in range(5000)])
    commands.seen.clear()

    page = MongoAudit(world.database).page(**{"who": None, "kind": None, "of": None, **wanted}, limit=9, cursor=None)

    assert [entry.of for entry in page.items] == ["nightly"]
    check(world, commands.seen, most=2)


def test_showing_a_task_and_its_place_in_the_queue(watched: tuple[World, Commands]) -> None:
    world, commands = watched
    queued = world.database["tasks"].find_one({"status": "queued"}, {"_id": 1})
    assert queued is not None
    commands.seen.clear()

    MongoReading(world.database, world.settings).task(ANN, queued["_id"])

    check(world, commands.seen, most=10)


def test_a_tick_costs_what_is_going_on(watched: tuple[World, Commands]) -> None:
    """Leases, backoffs and unsent events are found by partial indexes."""
    world, commands = watched
    world.at_work_for_long()
    world.database["tasks"].update_many({}, {"$unset": {"outbox_at": ""}})
    outbox = MongoOutbox(world.database, lambda event: True)
    block(world, worker="gone")
    commands.seen.clear()

    world.tick()
    outbox.send_left()

    check(world, commands.seen, most=20)
    assert not blocked(world)


def test_an_agents_report_costs_what_it_holds(watched: tuple[World, Commands]) -> None:
    world, commands = watched
    block(world, worker="w1")
    world.database["workers"].update_one({"_id": "w1"}, {"$set": {"seen_at": NOW - timedelta(seconds=5)}})
    commands.seen.clear()

    world.report("w1")

    check(world, commands.seen, most=20)
    assert not blocked(world)


def test_what_is_pruned_is_found_by_its_end(watched: tuple[World, Commands]) -> None:
    world, commands = watched
    two = [row["_id"] for row in world.database["tasks"].find({"status": "succeeded"}, {"_id": 1}).limit(2)]
    ended = {"$set": {"ended_at": NOW - timedelta(days=400)}}
    world.database["tasks"].update_many({"_id": {"$in": two}}, ended)
    commands.seen.clear()

    assert MongoRetention(world.database, world.settings).prune(dry_run=True).tasks == 2

    check(world, commands.seen, most=4)
