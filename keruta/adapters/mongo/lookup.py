"""Looks up what a request names: in one question for all, and a second where a repository names the profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.extras import Documents
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.submission import Found, asked, profile_name
from keruta.domain.task import TaskRequest
from keruta.ports import Document


class MongoLookup:
    """`keruta.ports.Lookup` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._documents = Documents(database)

    def find(self, readers: Sequence[str], request: TaskRequest) -> Found:
        ask = asked(request)
        seen = {"readers": {"$in": list(readers)}}
        repository_is: Document = {"_id": ask.name} if ask.name is not None else {"spec.url": ask.url}
        wanted_profile = request.profile or profile_name(request, None)
        with translated():
            rows = list(
                self._database["repositories"].aggregate(
                    [
                        {"$match": {**repository_is, **seen}},
                        {"$sort": {"_id": 1}},
                        {"$limit": 1},
                        *_and_from("queues", {"_id": request.queue, **seen}),
                        *_and_from("profiles", {"_id": wanted_profile, **seen}),
                    ]
                )
            )
            by_kind = {row.get("from", "repositories"): row["spec"] for row in rows}
            repository = _spec(by_kind.get("repositories"), RepositorySpec)
            name = profile_name(request, repository)
            if name != wanted_profile:
                row = self._database["profiles"].find_one({"_id": name, **seen})
                by_kind["profiles"] = row["spec"] if row else None
            documents = self._documents.wanted(readers, request.documents) if request.documents else []
        return Found(
            repository=repository,
            queue=_spec(by_kind.get("queues"), QueueSpec),
            profile=_spec(by_kind.get("profiles"), ProfileSpec),
            documents=documents,
        )


def _and_from(collection: str, match: Document) -> list[Document]:
    return [{"$unionWith": {"coll": collection, "pipeline": [{"$match": match}, {"$set": {"from": collection}}]}}]


def _spec(stored: Document | None, kind: type[Any]) -> Any:
    return None if stored is None else msgspec.convert(stored, kind)
