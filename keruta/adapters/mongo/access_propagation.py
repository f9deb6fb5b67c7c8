"""Brings a change of who may see and manage a repository or queue to the tasks that are on it.

A task's `readers` and `managers` are those of its repository and its queue; `seen_by`, by which lists find it, follows
from them. An entry whose change has not been brought to all of its tasks yet says so (`spreads`), until it has.
"""

from __future__ import annotations

from typing import Any

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.task_search import SEARCHED_ANEW
from keruta.adapters.mongo.tasks import seen_keys
from keruta.domain.catalog import access
from keruta.domain.catalog.access import Access
from keruta.domain.principal import EVERYONE
from keruta.ports import Document

COLLECTIONS = {"repository": "repositories", "queue": "queues"}


class Spreading:
    """Propagation of changed grants in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tasks = database["tasks"]

    def spread(self, kind: str, name: str) -> None:
        """Every task on the entry is visible to those who may see it, and to no others."""
        other = "queue" if kind == "repository" else "repository"
        # Of any task one of these is a reader.
        on_it: Document = {"seen_by": {"$in": seen_keys((EVERYONE, access.ADMIN), f"{kind}={name}")}}
        with translated():
            for value in self._tasks.distinct(f"lane.{other}", on_it):
                both = {kind: self._access(kind, name), other: self._access(other, value)}
                self._tasks.update_many({**on_it, f"lane.{other}": value}, _update(both["repository"], both["queue"]))
            self._database[COLLECTIONS[kind]].update_one({"_id": name}, {"$unset": {"spreads": ""}})

    def finish(self) -> int:
        """Finish the propagations of processes that died. Return the number of entries."""
        count = 0
        for kind, collection in COLLECTIONS.items():
            with translated():
                left = [row["_id"] for row in self._database[collection].find({"spreads": True}, ["_id"])]
            for name in left:
                self.spread(kind, name)
                count += 1
        return count

    def _access(self, kind: str, name: str) -> Access | None:
        row = self._database[COLLECTIONS[kind]].find_one({"_id": name}, ["spec.access"])
        found = ((row or {}).get("spec") or {}).get("access")
        return structs.from_plain(found, Access) if found is not None else None


def _update(repository: Access | None, queue: Access | None) -> list[Document]:
    """The same as `keruta.domain.submission.make_task` says of a new task."""
    narrower = repository if repository is not None else queue
    own = {"$concat": ["user:", "$owner"]}
    readers: Any = access.readers(narrower)
    return [
        {
            "$set": {
                "readers": {"$literal": readers} if narrower is None else _with(readers, own),
                "managers": _with(access.managers([repository, queue]), own),
            }
        },
        {
            "$set": {
                **SEARCHED_ANEW,
                "seen_by": {
                    "$reduce": {
                        "input": "$readers",
                        "initialValue": [],
                        "in": {
                            "$concatArrays": [
                                "$$value",
                                ["$$this"],
                                {
                                    "$map": {
                                        "input": "$facets",
                                        "as": "facet",
                                        "in": {"$concat": ["$$this", " ", "$$facet"]},
                                    }
                                },
                            ]
                        },
                    }
                },
            }
        },
    ]


def _with(names: list[str], own: Document) -> Document:
    return {"$setUnion": [{"$literal": names}, [own]]}
