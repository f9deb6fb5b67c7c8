"""The database that tests share: what one test leaves is gone for the next, and what keruta may not do is found."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.adapters.mongo.client import Collection
from tests.support.databases import SharedDatabase


@pytest.fixture
def shared(shared_database: SharedDatabase) -> Any:
    shared_database.empty()
    yield shared_database
    shared_database.empty()


def as_keruta(shared: SharedDatabase, name: str) -> Collection:
    """A collection as keruta's own code gets it."""
    return shared.database.client[shared.name][name]


def test_an_emptied_database_has_what_migrations_insert_and_nothing_else(shared: SharedDatabase) -> None:
    rows = shared.database
    before = {name: list(rows[name].find().sort("_id")) for name in ("queues", "profiles", "control")}
    rows["queues"].delete_one({"_id": "default"})
    rows["profiles"].update_one({"_id": "shell"}, {"$set": {"revision": 9}})
    rows["tasks"].insert_one({"_id": "a task"})
    rows["made_by_a_test"].insert_one({})

    shared.empty()

    assert {name: list(rows[name].find().sort("_id")) for name in before} == before
    assert rows["tasks"].count_documents({}) == 0
    assert "made_by_a_test" not in rows.list_collection_names()


@pytest.mark.parametrize(
    "query",
    [
        lambda tasks: tasks.find_one({"unindexed": 1}),
        lambda tasks: tasks.count_documents({"unindexed": 1}),
        lambda tasks: tasks.update_many({"unindexed": 1}, {"$set": {"a": 1}}),
        lambda tasks: tasks.find_one_and_update({"unindexed": 1}, {"$set": {"a": 1}}),
        lambda tasks: tasks.delete_many({"unindexed": 1}),
        lambda tasks: tasks.distinct("unindexed"),
        lambda tasks: list(tasks.aggregate([{"$group": {"_id": "$unindexed"}}])),
    ],
    ids=["find", "count", "update", "findAndModify", "delete", "distinct", "aggregate"],
)
def test_a_query_of_keruta_that_reads_a_growing_collection_whole_is_found(shared: SharedDatabase, query: Any) -> None:
    shared.database["tasks"].insert_one({"_id": "a task"})

    query(as_keruta(shared, "tasks"))

    (fault,) = shared.faults()
    assert "whole collection `tasks`" in fault


def test_a_query_by_an_index_and_a_query_of_the_test_itself_are_no_faults(shared: SharedDatabase) -> None:
    shared.database["tasks"].insert_one({"_id": "a task"})

    as_keruta(shared, "tasks").find_one({"claim": "x"})
    shared.database["tasks"].find_one({"unindexed": 1})

    assert shared.faults() == []


def test_a_test_that_changes_indexes_is_told_to_use_a_database_of_its_own(shared: SharedDatabase) -> None:
    tasks = as_keruta(shared, "tasks")
    tasks.create_index("unindexed", name="of_a_test")
    try:
        (fault,) = shared.faults()
    finally:
        tasks.drop_index("of_a_test")

    assert "own_database" in fault
