"""Search in tasks' names and ids, for parts of words: `search` holds what begins at each letter, for each reader.

The index on it answers which tasks have a rare term. Where every term is common, the list is read in its own order, and
what lacks a term is passed over. Of ids, `search` has pieces of four letters: a part of seven has one of them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bson import MaxKey

from keruta.domain.naming import ID_LETTERS
from keruta.domain.principal import EVERYONE
from keruta.domain.words import PART_LETTERS, normalized, parts
from keruta.ports import Document

if TYPE_CHECKING:
    from keruta.adapters.mongo.client import Collection

RARE = 1000  # so many tasks, and a term is looked for by the index
LOOKED_UP = 6  # terms, the longest ones
ID_PIECE, ID_PART = 4, 7
_SPLIT = "\n"  # no name has one
_AFTER = "\U0010ffff"


def search_fields(task_id: str, name: str | None, readers: Iterable[str]) -> Document:
    """Return the fields by which a task is found: `search`, and `searched`, which must contain each term.

    What everyone may see needs no further readers.
    """
    text = normalized(name or "")
    who = [EVERYONE] if EVERYONE in (listed := list(readers)) else listed
    # An id's first piece is the same for months: it is found by the id itself.
    pieces = [f"#{task_id[at : at + ID_PIECE]}" for at in range(ID_PIECE, len(task_id) - ID_PIECE + 1, ID_PIECE)]
    found = [*parts(text), *dict.fromkeys(pieces)]
    return {
        "searched": f"{task_id}{_SPLIT}{text}",
        "search": [f"{reader}{_SPLIT}{part}" for reader in who for part in found],
    }


def has_term(term: str) -> Document:
    """The condition that a term is in a task's name or id; a short one is in an id only where it begins it."""
    return {"searched": {"$regex": term if _of_id(term) else f"(^|{_SPLIT}.*){term}"}}


def _of_id(term: str) -> bool:
    return len(term) >= ID_PART and set(term) <= ID_LETTERS


def _anew() -> Document:
    split = {"$arrayElemAt": [{"$split": ["$$this", _SPLIT]}, 1]}
    found = {"$setUnion": [{"$map": {"input": {"$ifNull": ["$search", []]}, "in": split}}, []]}
    who = {"$cond": [{"$in": [EVERYONE, "$readers"]}, [EVERYONE], "$readers"]}
    of_one = {"$map": {"input": found, "as": "part", "in": {"$concat": ["$$this", _SPLIT, "$$part"]}}}
    return {"search": {"$reduce": {"input": who, "initialValue": [], "in": {"$concatArrays": ["$$value", of_one]}}}}


# The field as it is to be after `readers` has changed, as an expression.
SEARCHED_ANEW = _anew()


class _CommonError(Exception):
    """More tasks have it than are looked up."""


def rare(tasks: Collection, readers: Sequence[str], terms: Sequence[str]) -> list[str] | None:
    """The tasks that may have all of these terms, where one of them is rare among what these readers see; else None."""
    found: set[str] | None = None
    for term in sorted(terms, key=len, reverse=True)[:LOOKED_UP]:
        try:
            ids = _having(tasks, readers, term)
        except _CommonError:
            continue
        found = ids if found is None else found & ids
        if len(found) <= RARE // 10:
            break
    return sorted(found) if found is not None else None


def _having(tasks: Collection, readers: Sequence[str], term: str) -> set[str]:
    """The tasks that may have a term. Raises _CommonError."""
    found = _ids(tasks, "_id_", [("_id", term)], [("_id", term + _AFTER)]) if set(term) <= ID_LETTERS else set()
    pieces = () if found or not _of_id(term) else _pieces(term)  # what begins an id is not looked for within others
    for reader in readers:
        for part in (term[:PART_LETTERS], *pieces):
            begin = f"{reader}{_SPLIT}{part}"
            found |= _ids(tasks, "search", [("search", begin), ("_id", MaxKey())],
                          [("search", begin + _AFTER), ("_id", MaxKey())])  # fmt: skip
    if len(found) > RARE:
        raise _CommonError
    return found


def _pieces(term: str) -> list[str]:
    """The keys of ids with that part: one of its pieces is whole wherever it is; the last is the least common."""
    starts = [range(at, len(term) - ID_PIECE + 1, ID_PIECE)[-1] for at in range(ID_PIECE)]
    return [f"#{term[at : at + ID_PIECE]}" for at in starts]


def _ids(tasks: Collection, index: str, begin: Sequence[Any], end: Sequence[Any]) -> set[str]:
    """Return ids by an index alone and its own bounds: two conditions on an array may hold for two of its values.

    Raises _CommonError.
    """
    rows = tasks.find({}, {"_id": 1}).hint(index).min(begin).max(end).limit(RARE + 1)
    found = {str(row["_id"]) for row in rows}
    if len(found) > RARE:
        raise _CommonError
    return found
