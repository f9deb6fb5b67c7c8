"""The tasks on MongoDB keep what the services' unit tests take for granted of those in memory."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.task_store import MongoTaskStore
from tests.support.task_store_contract import Stored, TaskStoreContract


class TestMongoTasks(TaskStoreContract):
    """`keruta.adapters.mongo.task_store.MongoTaskStore`."""

    @pytest.fixture
    def stored(self, database: Database) -> Stored:
        tasks = database["tasks"]

        def put(document: dict[str, Any]) -> None:
            tasks.replace_one({"_id": document["_id"]}, document, upsert=True)

        def read(task_id: str) -> dict[str, Any]:
            found = tasks.find_one({"_id": task_id})
            assert found is not None
            return found

        return Stored(store=MongoTaskStore(database), put=put, read=read)
