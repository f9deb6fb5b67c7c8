"""Looks up what a request names. What was found is remembered for a moment: nearly all tasks name the same entries.

Of a repository it is also remembered that there is none at an address, so that a burst of submits asks once. Whoever
adds or changes one is answered only when that can't be so anywhere any more (`Kind.settle_seconds`): an address that
was registered brings its credential from then on. A queue or a profile that was just changed counts after a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from keruta import structs
from keruta.adapters.mongo.catalog_kinds import Documents
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.address import same_address
from keruta.domain.catalog import access
from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.domain.submission import Found, asked, profile_name
from keruta.domain.task import TaskRequest
from keruta.ports import Document

REMEMBERED_SECONDS = 1.0
REMEMBERED = 2048


class MongoLookup:
    """`keruta.ports.Lookup` on MongoDB.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._documents = Documents(database)
        self._clock = clock
        self._remembered: dict[tuple[str, str, tuple[str, ...]], tuple[Any, float]] = {}

    def find(self, readers: Sequence[str], request: TaskRequest) -> Found:
        ask = asked(request)
        by_name = ask.name is not None
        wanted: Document = {"_id": ask.name} if by_name else {"address": same_address(ask.url or "")}
        with translated():
            repository = self._entry("repository", wanted, readers)
            if not by_name and repository is not None and not access.may_run(repository.access, readers):
                repository = None  # what they may not run is never chosen for them
            documents = self._documents.wanted(readers, request.documents) if request.documents else []
            return Found(
                repository=repository,
                queue=self._entry("queue", {"_id": request.queue}, readers),
                profile=self._entry("profile", {"_id": profile_name(request, repository)}, readers),
                documents=documents,
            )

    def _entry(self, of: str, wanted: Document, readers: Sequence[str]) -> Any:
        """The spec of the first entry of that kind that is wanted, or None."""
        kind = KINDS[of]
        key = (of, str(wanted), tuple(readers))
        asked_at = self._clock()
        spec, until = self._remembered.get(key, (None, 0.0))
        if until > asked_at:
            return spec
        seen = {**wanted, "readers": {"$in": list(readers)}}
        row = self._database[kind.collection].find_one(seen, ["spec"], sort=[("_id", 1)])
        spec = structs.from_plain(row["spec"], kind.spec) if row is not None else None
        if seconds := _remembered_seconds(kind, spec):
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = spec, asked_at + seconds
        return spec


def _remembered_seconds(kind: Kind, spec: Any) -> float:
    """Return how long an answer holds. What is not there is remembered only where a change waits for it."""
    return kind.settle_seconds or (REMEMBERED_SECONDS if spec is not None else 0.0)
