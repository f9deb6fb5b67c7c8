"""Search in tasks' names and ids, for parts of words: `search` holds what begins at each letter, for each reader.

The index on it answers which tasks have a rare term. Where every term is common, the list is read in its own order, and
what lacks a term is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bson import MaxKey
from pymongo import ASCENDING, DESCENDING

from keruta.domain.principal import EVERYONE
from keruta.domain.words import PART_LETTERS, normalized, parts
from keruta.ports import Document

if TYPE_CHECKING:
    from keruta.adapters.mongo.client import Collection

SEARCH_INDEX = [("search", ASCENDING), ("_id", DESCENDING)]
RARE = 2000  # so many tasks, and a term is looked for by the index
LOOKED_UP = 6  # terms, the longest ones
_SPLIT = "\n"  # no name has one


def search_fields(task_id: str, name: str | None, readers: Iterable[str]) -> Document:
    """What a task is found by: `search`, and `searched`, in which a term must be.

    What everyone may see needs no further readers.
    """
    text = normalized(name or "")
    who = [EVERYONE] if EVERYONE in (listed := list(readers)) else listed
    found = parts(text, task_id)
    return {
        "searched": f"{text}{_SPLIT}{task_id}",
        "search": [f"{reader}{_SPLIT}{part}" for reader in who for part in found],
    }


def _anew() -> Document:
    split = {"$arrayElemAt": [{"$split": ["$$this", _SPLIT]}, 1]}
    found = {"$setUnion": [{"$map": {"input": {"$ifNull": ["$search", []]}, "in": split}}, []]}
    who = {"$cond": [{"$in": [EVERYONE, "$readers"]}, [EVERYONE], "$readers"]}
    of_one = {"$map": {"input": found, "as": "part", "in": {"$concat": ["$$this", _SPLIT, "$$part"]}}}
    return {"search": {"$reduce": {"input": who, "initialValue": [], "in": {"$concatArrays": ["$$value", of_one]}}}}


# The field as it is to be after `readers` has changed, as an expression.
SEARCHED_ANEW = _anew()


def rare(tasks: Collection, readers: Sequence[str], terms: Sequence[str]) -> list[str] | None:
    """The tasks that may have all of these terms, where one of them is rare among what these readers see; else None."""
    found: set[str] | None = None
    for term in sorted(terms, key=len, reverse=True)[:LOOKED_UP]:
        ids = _having(tasks, readers, term[:PART_LETTERS])
        if ids is not None:
            found = ids if found is None else found & ids
        if found is not None and len(found) <= RARE // 10:
            break
    return sorted(found) if found is not None else None


def _having(tasks: Collection, readers: Sequence[str], part: str) -> set[str] | None:
    """The ids of tasks with such a part; None if they are many. Read from the index alone."""
    found: set[str] = set()
    for reader in readers:
        begin, end = f"{reader}{_SPLIT}{part}", f"{reader}{_SPLIT}{part}\U0010ffff"
        # By the index's own bounds: a condition on a field with many values would have each task fetched.
        rows = tasks.find({}, {"_id": 1}).hint(SEARCH_INDEX)
        rows = rows.min(_place(begin)).max(_place(end))
        found.update(row["_id"] for row in rows.limit(RARE + 1))
        if len(found) > RARE:
            return None
    return found


def _place(key: str) -> list[Any]:
    """Where in the index a key's tasks begin."""
    return [("search", key), ("_id", MaxKey())]
