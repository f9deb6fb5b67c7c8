"""Initial documents of catalog entries; for the catalog, and for the migration that adds the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keruta.domain.catalog.kinds import Kind
from keruta.ports import Document


def seen_by(kind: Kind, readers: Sequence[str], spec: Any) -> list[str]:
    """Return the keys that lists find an entry by: each reader, alone and with each value that narrows a list.

    One array, since no index takes two.
    """
    facets: list[str] = []
    for name in kind.filters.values():
        value = getattr(spec, name)
        facets += [f" {name}={one}" for one in (value if isinstance(value, list) else [value])]
    return [f"{reader}{facet}" for reader in readers for facet in ("", *facets)]


def new_entry(fields: Document, revision: int = 1) -> list[Document]:
    """The update that makes an entry of these fields at a revision, timed by the server; one that is there stays."""
    missing = {"$eq": [{"$type": "$revision"}, "missing"]}
    own = {"_id": "$_id", "revision": revision, "created_at": "$$NOW", "updated_at": "$$NOW"}
    made = {"$mergeObjects": [{"$literal": fields}, own]}
    return [{"$replaceWith": {"$cond": [missing, made, "$$ROOT"]}}]
