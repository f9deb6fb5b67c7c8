"""The database of a test run: made once, emptied before each test, and watched for collection scans.

Building keruta's indexes takes about a second, emptying all collections takes about ten milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import bson
import pymongo

from keruta.adapters.mongo.client import Collection, Database, connect
from keruta.settings import Settings

Row = dict[str, Any]
PRODUCT = "keruta"  # the name that keruta's own connections give themselves
PROFILE_BYTES = 32 * 1024 * 1024

# Collections that grow with what was done. A query that reads one of them whole becomes slower with every task.
GROWING = frozenset(
    {
        "api_keys", "audit", "dead_letters", "deliveries", "document_versions", "documents", "keys", "logs", "rates",
        "repositories", "sessions", "tasks", "users", "webhook_deliveries",
    }
)  # fmt: skip

# Scans that are meant, each as (collection, the fields that the query names) with the reason.
ALLOWED_SCANS: Mapping[tuple[str, frozenset[str]], str] = {}

_INDEX_COMMANDS = ("createIndexes", "dropIndexes", "collMod", "drop", "dropDatabase", "renameCollection")


class TestedDatabase(pymongo.database.Database[Row]):
    """A database that keruta uses under its own name and the test itself under another.

    The profiler therefore sees which queries are keruta's: a test may read a collection whole, keruta may not.
    """

    __test__ = False  # it is no test, whatever its name

    def __init__(self, database: Database, of_tests: Database) -> None:
        super().__init__(database.client, database.name, database.codec_options)
        self._of_tests = of_tests

    def __getitem__(self, name: str) -> Collection:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("tests."):
            return self._of_tests[name]
        return super().__getitem__(name)


class SharedDatabase:
    """The run's database, with what the migrations put into it."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.mongo_database
        keruta = connect(settings)
        self._client: pymongo.MongoClient[Row] = pymongo.MongoClient(settings.mongo_url, tz_aware=True, appname="tests")
        self._own = self._client[self.name]
        self.database = TestedDatabase(keruta, self._own)
        self._initial = {name: _rows(self._own[name]) for name in self._collections()}
        self._indexes = self._all_indexes()
        self._profile()
        self._since = datetime.now(UTC)

    def close(self) -> None:
        self._client.drop_database(self.name)
        self._client.close()
        self.database.client.close()

    def empty(self) -> None:
        """Leave what the migrations inserted, and nothing else."""
        for name in self._collections():
            initial = self._initial.get(name)
            collection = self._own[name]
            if initial is None:
                collection.drop()
            elif not initial:
                collection.delete_many({})
            elif _rows(collection) != initial:
                collection.delete_many({})
                collection.insert_many([bson.decode(row) for row in initial])
        self._since = datetime.now(UTC)

    def faults(self) -> list[str]:
        """Return what keruta may not have done since the database was emptied: each as a sentence."""
        seen = list(self._own["system.profile"].find({"ts": {"$gte": self._since}}))
        found = [*_scans(seen)]
        if any(name in row.get("command", {}) for row in seen for name in _INDEX_COMMANDS):
            now = self._all_indexes()
            if now != self._indexes:
                found.append("The test changed the indexes of the shared database; mark it `own_database`.")
        return found

    # ------------------------------------------------------------ how it is

    def _collections(self) -> list[str]:
        return [name for name in self._own.list_collection_names() if not name.startswith("system.")]

    def _all_indexes(self) -> dict[str, list[bytes]]:
        return {name: sorted(bson.encode(index) for index in self._own[name].list_indexes()) for name in self._initial}

    def _profile(self) -> None:
        """Record collection scans and changes of indexes, and nothing else."""
        self._own.create_collection("system.profile", capped=True, size=PROFILE_BYTES)
        changes = [{f"command.{name}": {"$exists": True}} for name in _INDEX_COMMANDS]
        growing = [f"{self.name}.{name}" for name in sorted(GROWING)]
        scans = {"planSummary": {"$regex": "COLLSCAN"}, "ns": {"$in": growing}}
        recorded = {"appName": PRODUCT, "$or": [scans, *changes]}
        self._own.command("profile", 1, filter=recorded)


def _rows(collection: Collection) -> list[bytes]:
    return [bson.encode(row) for row in collection.find().sort("_id", 1)]


def _scans(seen: list[Row]) -> Iterator[str]:
    for row in seen:
        collection = row["ns"].partition(".")[2]
        if "COLLSCAN" not in row.get("planSummary", ""):
            continue
        query = _query(row.get("command", {}))
        if (collection, frozenset(_fields(query))) not in ALLOWED_SCANS:
            yield f"A query reads the whole collection `{collection}`: {query}. Give it an index (DESIGN, section 2)."


def _query(command: Row) -> Any:
    """Return the condition of a find, count, distinct, update, delete, findAndModify or aggregate."""
    for name in ("filter", "query", "q", "pipeline"):
        if name in command:
            return command[name]
    return {}


def _fields(query: Any) -> Iterator[str]:
    """Yield the fields that a query names, at any depth; of a pipeline those of its first `$match`."""
    if isinstance(query, list):
        for part in query:
            yield from _fields(part)
    elif isinstance(query, dict):
        for name, value in query.items():
            if name.startswith("$"):
                yield from _fields(value)
            else:
                yield name
