"""Pages of what was made one after the other, newest first: an identity sorts by its time, and is the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from keruta.adapters.mongo.client import Collection, translated
from keruta.domain.naming import TASK_ID
from keruta.errors import InvalidRequest
from keruta.ports import Document


def newest_first(
    collection: Collection,
    match: Document,
    *,
    limit: int,
    cursor: str | None,
    hint: str = "_id_",
    without: Sequence[str] = (),
) -> tuple[list[Document], str | None]:
    """One page of the documents that match, and the cursor of the next.

    Args:
        hint: the index that finds them in this order.
        without: fields that are not read.

    Raises:
        InvalidRequest: the cursor is none of ours.
    """
    if cursor is not None:
        if not TASK_ID.fullmatch(cursor):
            raise InvalidRequest.cursor()
        match = {**match, "_id": {"$lt": cursor}}
    with translated():
        rows = list(
            collection.find(match, dict.fromkeys(without, 0) or None).sort("_id", -1).hint(hint).limit(limit + 1)
        )
    page = rows[:limit]
    return page, page[-1]["_id"] if len(rows) > limit else None
