"""The order of a catalog's list, and the cursors between its pages."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import msgspec
from pymongo import ASCENDING, DESCENDING

from keruta import structs
from keruta.errors import InvalidRequest
from keruta.ports import Document

SORTS = {"name": ("_id", 1), "-name": ("_id", -1), "updated": ("updated_at", 1), "-updated": ("updated_at", -1)}


def cursor_of(row: Document, key: str) -> str:
    value = [row["_id"]] if key == "_id" else [row["_id"], int(row[key].timestamp() * 1000)]
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def after(cursor: str, key: str, direction: int) -> list[Document]:
    more = "$gt" if direction == ASCENDING else "$lt"
    try:
        name, *rest = structs.from_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[Any])
        if key == "_id" and not rest and isinstance(name, str):
            return [{"_id": {more: name}}]
        at = datetime.datetime.fromtimestamp(rest[0] / 1000, datetime.UTC)
        assert direction in (ASCENDING, DESCENDING)
        return [{key: {more: at}}, {key: at, "_id": {more: str(name)}}]
    except (ValueError, TypeError, IndexError, OverflowError, OSError) as error:
        raise InvalidRequest.cursor() from error
