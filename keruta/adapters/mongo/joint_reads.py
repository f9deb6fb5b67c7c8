"""Several small reads by one command: each round trip costs the database and its client more than what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.tasks import Pipeline
from keruta.ports import Document


class Part(msgspec.Struct, frozen=True):
    """A read of one collection.

    Args:
        name: of its rows in the answer; the collection's, if empty.
    """

    collection: str
    pipeline: Pipeline
    name: str = ""

    @property
    def key(self) -> str:
        return self.name or self.collection


def read_together(database: Database, parts: Sequence[Part], *, hint: str | None = None) -> dict[str, list[Document]]:
    """Return the rows of each part by its name. The parts are read one after another, not as of one moment.

    Args:
        hint: the index by which the first part is read.
    """
    first, *others = parts
    pipeline = _marked(first)
    pipeline += [{"$unionWith": {"coll": other.collection, "pipeline": _marked(other)}} for other in others]
    found: dict[str, list[Document]] = {part.key: [] for part in parts}
    options: dict[str, Any] = {"hint": hint} if hint is not None else {}
    for row in database[first.collection].aggregate(pipeline, **options):
        found[row["part"]].append(row["row"])
    return found


def _marked(part: Part) -> Pipeline:
    return [*part.pipeline, {"$replaceWith": {"part": part.key, "row": "$$ROOT"}}]
