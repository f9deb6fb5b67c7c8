"""The audit record: appended to, read in pages, never changed; what is old goes by its index."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.client_session import ClientSession

from keruta import logs, structs
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.paging import newest_first
from keruta.domain.audit import Action, AuditEntry, AuditPage, Subject, sentence
from keruta.domain.messages import fields_of
from keruta.domain.naming import new_id
from keruta.ports import Document


class MongoAudit:
    """The audit record in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._audit = database["audit"]

    def record(
        self,
        who: str,
        action: Action,
        kind: Subject,
        of: str,
        *,
        readers: Sequence[str],
        changes: Sequence[str] = (),
        refused: str | None = None,
        session: ClientSession | None = None,
    ) -> None:
        """The change is on record, timed by the server, with the request that made it."""
        entry: dict[str, Any] = {
            "who": who,
            "action": action,
            "kind": kind,
            "of": of,
            "changes": list(changes),
            "request": logs.bound("request"),
            "address": logs.bound("address"),
            "refused": refused,
            "offline": bool(logs.bound("offline")),
            "readers": list(readers),
            **fields_of(sentence(who, action, kind, of, refused)),
        }
        pipeline = [{"$set": {**{name: {"$literal": value} for name, value in entry.items()}, "at": "$$NOW"}}]
        with translated() if session is None else contextlib.nullcontext():  # a transaction asks what went wrong
            self._audit.update_one({"_id": new_id()}, pipeline, upsert=True, session=session)

    def refused(self, who: str, route: str, reason: str) -> None:
        """Record that a known caller was refused an action."""
        self.record(who, "refused", "route", route, readers=["role:admin"], refused=reason)

    def everything(self, *, who: str | None, kind: str | None, of: str | None) -> Iterator[AuditEntry]:
        """All of it, newest first."""
        cursor: str | None = None
        while True:
            page = self.page(who=who, kind=kind, of=of, limit=1000, cursor=cursor)
            yield from page.items
            if page.next is None:
                return
            cursor = page.next

    def page(self, *, who: str | None, kind: str | None, of: str | None, limit: int, cursor: str | None) -> AuditPage:
        """One page, newest first. Raises InvalidRequest for a cursor that is none of ours."""
        match: Document = {}
        hint = "_id_"
        if who is not None:
            match["who"], hint = who, "who"
        if kind is not None:
            match["kind"], hint = kind, "kind"
        if of is not None:
            match["of"], hint = of, "of"
        rows, after = newest_first(self._audit, match, limit=limit, cursor=cursor, hint=hint)
        return AuditPage(items=[_entry(row) for row in rows], next=after)


def _entry(row: Document) -> AuditEntry:
    """An entry; one that was recorded before there were messages is put into words now."""
    known = {name: value for name, value in row.items() if value is not None}
    if "message_code" not in known:
        known |= fields_of(sentence(row["who"], row["action"], row["kind"], row["of"], row.get("refused")))
    return structs.from_plain({**known, "id": row["_id"]}, AuditEntry)
