"""References between entries of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.client_session import ClientSession

from keruta.adapters.mongo.client import Database
from keruta.domain.catalog.kinds import KINDS
from keruta.ports import Document


def used_by(database: Database, of: str, names: Sequence[str], readers: Sequence[str] | None) -> dict[str, list[str]]:
    """Return, for each of these entries, the entries that name it, as `kind name`; one query for all of them.

    Args:
        of: the kind of the entries that are named.
        readers: tell only of what these names may read; None for all.
    """
    users: dict[str, set[str]] = {name: set() for name in names}
    seen: Document = {} if readers is None else {"readers": {"$in": list(readers)}}
    for kind in KINDS.values():
        for path in (path for path, named in kind.names.items() if named == of):
            own = path.removesuffix(".*")
            condition = {f"spec.{own}": {"$in": list(names)}} if own == path else _any_value(f"spec.{own}", names)
            for row in database[kind.collection].find({**condition, **seen}, [f"spec.{own}"]):
                value = row["spec"][own]
                for name in users.keys() & set([value] if own == path else value.values()):
                    users[name].add(f"{kind.name} {row['_id']}")
    return {name: sorted(found) for name, found in users.items()}


def named(
    database: Database, kind: str, names: Sequence[str], session: ClientSession | None = None
) -> dict[str, Document]:
    """The entries of these names, whoever may read them, without what is sealed."""
    match = {"_id": {"$in": list(names)}}
    found = database[KINDS[kind].collection].find(match, {"sealed": 0, "grams": 0, "letters": 0}, session=session)
    return {row["_id"]: row for row in found}


def _any_value(path: str, names: Sequence[str]) -> Document:
    """The condition that a mapping's values have one of these names among them."""
    values = {"$map": {"input": {"$objectToArray": f"${path}"}, "in": "$$this.v"}}
    return {"$expr": {"$ne": [{"$setIntersection": [values, {"$literal": list(names)}]}, []]}}
