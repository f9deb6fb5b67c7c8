"""Looks up what a request names. Queues and profiles are remembered for a moment: nearly all tasks name the same ones.

Only what was found is remembered, so what was just added is there at once; what was just changed counts after a second.
Repositories are asked for every time: an address that was just registered must bring its credential.
"""

from __future__ import annotations

import time
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

REMEMBERED_SECONDS = 1.0
REMEMBERED = 2048


class MongoLookup:
    """`keruta.ports.Lookup` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._documents = Documents(database)
        self._remembered: dict[tuple[str, str, tuple[str, ...]], tuple[Any, float]] = {}

    def find(self, readers: Sequence[str], request: TaskRequest) -> Found:
        ask = asked(request)
        wanted: Document = {"_id": ask.name} if ask.name is not None else {"spec.url": ask.url}
        with translated():
            row = self._database["repositories"].find_one(
                {**wanted, "readers": {"$in": list(readers)}}, ["spec"], sort=[("_id", 1)]
            )
            repository = msgspec.convert(row["spec"], RepositorySpec) if row is not None else None
            documents = self._documents.wanted(readers, request.documents) if request.documents else []
            return Found(
                repository=repository,
                queue=self._entry("queues", request.queue, readers, QueueSpec),
                profile=self._entry("profiles", profile_name(request, repository), readers, ProfileSpec),
                documents=documents,
            )

    def _entry(self, collection: str, name: str, readers: Sequence[str], kind: type[Any]) -> Any:
        """The spec of that name, or None."""
        key = (collection, name, tuple(readers))
        spec, until = self._remembered.get(key, (None, 0.0))
        if until > time.monotonic():
            return spec
        row = self._database[collection].find_one({"_id": name, "readers": {"$in": list(readers)}}, ["spec"])
        if row is None:
            return None
        spec = msgspec.convert(row["spec"], kind)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = spec, time.monotonic() + REMEMBERED_SECONDS
        return spec
