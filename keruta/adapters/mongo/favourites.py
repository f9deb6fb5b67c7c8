"""People's favourites: one document for each person."""

from __future__ import annotations

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.favourites import LIMIT, Favourite


class MongoFavourites:
    """`keruta.ports.people.Favourites` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._favourites = database["favourites"]

    def of(self, subject: str) -> list[Favourite]:
        with translated():
            row = self._favourites.find_one({"_id": subject}) or {}
        return [structs.from_plain(one, Favourite) for one in row.get("entries", [])]

    def add(self, subject: str, wanted: Favourite) -> None:
        """Add one at the end; one that is there stays where it is. The oldest go beyond the limit."""
        entry = {"$literal": {"kind": wanted.kind, "name": wanted.name}}
        there = {"$ifNull": ["$entries", []]}
        entries = {"$cond": [{"$in": [entry, there]}, there, {"$concatArrays": [there, [entry]]}]}
        with translated():
            self._favourites.update_one(
                {"_id": subject}, [{"$set": {"entries": {"$slice": [entries, -LIMIT]}}}], upsert=True
            )

    def remove(self, subject: str, wanted: Favourite) -> None:
        with translated():
            self._favourites.update_one(
                {"_id": subject}, {"$pull": {"entries": {"kind": wanted.kind, "name": wanted.name}}}
            )
