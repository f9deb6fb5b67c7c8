"""A database that ends without warning: what was answered is on record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.client import connect
from keruta.adapters.mongo.logs import MongoLogs
from keruta.domain.naming import new_id
from keruta.domain.reports import LogChunk
from keruta.settings import Settings
from tests.support.mongod import Mongod


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Mongod]:
    """A mongod of the test's own."""
    with Mongod(tmp_path) as running:
        yield running


def test_what_is_stored_of_a_log_outlives_a_crash_that_follows_at_once(crashing: Mongod, tmp_path: Path) -> None:
    """The driver repeats the next write, the attempt's end, on the database that was started anew."""
    database = connect(Settings(mongo_url=crashing.url, results_dir=tmp_path))
    logs = MongoLogs(database, 1.0)
    task = new_id()
    stored = []
    for number in range(5):
        chunk = LogChunk(
            task=task, attempt=1, sequence=number, offset_bytes=number * 2, data=b"a\n", at=datetime.now(UTC)
        )
        logs.store([chunk])
        stored.append(chunk)

    crashing.kill()
    with crashing:
        assert logs.known(stored) == stored
        database.client.close()


def test_a_crash_gives_no_epoch_out_twice(crashing: Mongod, tmp_path: Path) -> None:
    """An assigner that a crash has held up does not write under the next one's epoch."""
    settings = Settings(mongo_url=crashing.url, results_dir=tmp_path)
    database = connect(settings)
    first = MongoAssignment(database, settings).take_assigner()

    database["control"].update_one({"_id": "assigner"}, {"$set": {"epoch": 0, "until": None}})  # as if it were lost
    assert MongoAssignment(database, settings).take_assigner() not in (None, first)
    database.client.close()
