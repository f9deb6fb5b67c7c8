"""How an entry of the catalog begins; for the catalog, and for the migration that brings the first ones."""

from __future__ import annotations

from keruta.ports import Document


def new_entry(fields: Document) -> list[Document]:
    """The update that makes an entry of these fields at revision 1, timed by the server; one that is there stays."""
    missing = {"$eq": [{"$type": "$revision"}, "missing"]}
    own = {"_id": "$_id", "revision": 1, "created_at": "$$NOW", "updated_at": "$$NOW"}
    made = {"$mergeObjects": [{"$literal": fields}, own]}
    return [{"$replaceWith": {"$cond": [missing, made, "$$ROOT"]}}]
