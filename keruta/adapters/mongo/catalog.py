"""The catalog: entries by name, each changed by one conditional update under its revision.

An entry is `{_id: name, owner, readers, spec, revision, created_at, updated_at, updated_by, …}`; what a kind has beside
these is made by its `Extras`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from keruta import structs
from keruta.adapters.mongo.access_propagation import Spreading
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.catalog_entries import new_entry, seen_by
from keruta.adapters.mongo.catalog_paging import SORTS, after, cursor_of
from keruta.adapters.mongo.catalog_references import named, used_by
from keruta.adapters.mongo.client import Database, translated
from keruta.domain import permissions
from keruta.domain.audit import Action
from keruta.domain.catalog.common import Wanted
from keruta.domain.catalog.kinds import Kind
from keruta.domain.messages import kind_word, message
from keruta.domain.naming import NAME
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, InvalidRequest, NotFound, PreconditionFailed, fault
from keruta.ports import Document


class Extras:
    """Fields that a kind stores and shows beside its specification. Plain kinds have none."""

    def stored(self, spec: Any, before: Document | None) -> Document:
        """Fields to set beside `spec`, given the entry as it was. May raise InvalidRequest."""
        return {}

    def written(self, spec: Any) -> Document:
        """The spec as it is stored."""
        plain: Document = msgspec.to_builtins(spec)
        return plain

    def also(self, entry: Document, session: ClientSession) -> None:
        """Write documents that belong to the entry, in the same transaction."""

    def deleted(self, name: str) -> None:
        """Remove documents that belong to an entry which was deleted."""

    def search(self, text: str) -> Document:
        """The condition that a search means. Raises InvalidRequest where nothing can be searched."""
        raise InvalidRequest(
            message("catalog_not_searchable"), faults=[fault("?q", message("catalog_not_searchable_here"))]
        )

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        """Return entries as `view` or `item` of the kind, as this person may see them."""
        return [structs.from_plain({**row["spec"], "meta": kept(row), **self.shown(row)}, kind) for row in rows]

    def shown(self, row: Document) -> Document:
        return {}

    def adopts(self, row: Document) -> bool:
        """Return whether saving an entry as it is makes the person its last editor."""
        return False

    def hidden(self) -> Document:
        """Return a projection that leaves out fields which a list does not show."""
        return {}


def kept(row: Document) -> Document:
    """The `meta` of an entry."""
    return {name: row[name] for name in ("revision", "created_at", "updated_at", "updated_by")}


class MongoCatalog:
    """The entries of one kind, for whoever asks."""

    def __init__(self, database: Database, kind: Kind, extras: Extras, audit: MongoAudit) -> None:
        self.kind = kind
        self.extras = extras
        self._database = database
        self._entries = database[kind.collection]
        self._tasks = database["tasks"]
        self._gone = database["deleted_entries"]
        self._audit = audit
        self._spreading = Spreading(database)

    # ------------------------------------------------------------ reading

    def show(self, who: Principal, name: str) -> Any:
        """One entry. Raises NotFound, also for what the reader may not see."""
        with translated():
            return self._view(who, self._row(who, name))

    def page(self, who: Principal, wanted: Wanted) -> tuple[list[Any], str | None]:
        """One page and the cursor of the next. Raises InvalidRequest for a bad cursor or sort."""
        if wanted.sort not in SORTS:
            raise InvalidRequest(
                message("http_sort", known=", ".join(SORTS)), faults=[fault("?sort", message("http_unknown_value"))]
            )
        key, direction = SORTS[wanted.sort]
        asked = [f" {name}={value}" for name, value in wanted.filters.items()] or [""]
        seen = [{"seen_by": {"$in": [f"{reader}{facet}" for reader in who.readers]}} for facet in asked]
        match: Document = seen[0] if len(seen) == 1 else {"$and": seen}
        if wanted.search is not None:
            match |= self.extras.search(wanted.search)
        if wanted.cursor is not None:
            match["$or"] = after(wanted.cursor, key, direction)
        order = [(key, direction)] if key == "_id" else [(key, direction), ("_id", direction)]
        with translated():
            found = self._entries.find(match, self.extras.hidden() or None).sort(order).limit(wanted.limit + 1)
            if wanted.search is None:
                found = found.hint("seen_by" if key == "_id" else "seen_by_updated")
            rows = list(found)
            more = len(rows) > wanted.limit
            items = self.extras.views(rows[: wanted.limit], self.kind.item, who)
        return items, cursor_of(rows[wanted.limit - 1], key) if more else None

    def all(self) -> Iterator[Document]:
        """Every entry's spec as it is stored, by name."""
        with translated():
            yield from self._entries.find({}).sort("_id", 1)

    def _row(self, who: Principal, name: str, session: ClientSession | None = None) -> Document:
        seen = {"_id": name, "readers": {"$in": who.readers}}
        row = self._entries.find_one(seen, session=session) if NAME.fullmatch(name) else None
        if row is None:
            raise NotFound(
                message("catalog_missing", kind=kind_word(self.kind.name), name=name[:80]),
                reason=f"{self.kind.problem}NotFound",
            )
        return row

    def _managed(self, who: Principal, name: str, session: ClientSession | None = None) -> Document:
        """One entry that is theirs to change. Raises NotFound, Forbidden."""
        row = self._row(who, name, session)
        if refusal := permissions.change_refusal(who, self.kind.name, name, row["managers"]):
            raise Forbidden(refusal, reason="GrantMissing")
        return row

    def _view(self, who: Principal, row: Document) -> Any:
        return self.extras.views([row], self.kind.view, who)[0]

    # ------------------------------------------------------------ changing

    def create(self, who: Principal, spec: Any) -> Any:
        """The entry is there, at revision 1, or after the last one of a deleted entry of its name.

        Raises:
            Conflict: the name is taken.
            InvalidRequest.
        """
        return self._changed(who, lambda session: self.create_in(session, who, spec))

    def create_in(self, session: ClientSession, who: Principal, spec: Any) -> Document:
        """The same, within a transaction; pymongo's own errors pass, so that it can be run again."""
        self._check_named(who, spec, None, session)
        beside = self.extras.stored(spec, None)
        self._check_address(who, spec.name, beside, session)
        fields = {
            "owner": who.name,
            "readers": self.kind.readers(spec),
            "managers": self.kind.managers(spec),
            "updated_by": who.name,
            "updated_by_subject": who.subject,
            "spec": self.extras.written(spec),
            "seen_by": seen_by(self.kind, self.kind.readers(spec), spec),
            **_set_beside(beside),
        }
        gone = self._gone.find_one({"_id": f"{self.kind.name}:{spec.name}"}, session=session)
        update = new_entry(fields, (gone["revision"] if gone is not None else 0) + 1)
        before = self._entries.find_one_and_update({"_id": spec.name}, update, upsert=True, session=session)
        if before is not None:
            raise Conflict(
                message("catalog_exists", kind=kind_word(self.kind.name), name=spec.name), reason="NameTaken"
            )
        row = self._entries.find_one({"_id": spec.name}, session=session)
        assert row is not None
        self.extras.also(row, session)
        self._audit.record(who.name, "create", self.kind.name, spec.name, readers=row["readers"], session=session)
        return row

    def replace(self, who: Principal, name: str, spec: Any, revision: int | None) -> Any:
        """The entry is as it was written. What would change nothing changes nothing, the revision neither.

        Args:
            revision: the one that the change was made from; None for whatever is there.

        Raises:
            NotFound.
            PreconditionFailed: it was changed meanwhile; `faults` names what is different.
            InvalidRequest.
        """
        return self._changed(who, lambda session: self.replace_in(session, who, name, spec, revision))

    def replace_in(
        self, session: ClientSession, who: Principal, name: str, spec: Any, revision: int | None
    ) -> Document:
        """The same, within a transaction; pymongo's own errors pass, so that it can be run again."""
        if spec.name != name:
            raise InvalidRequest(
                message("catalog_name_fixed"), faults=[fault("/name", message("catalog_other_name", name=name))]
            )
        row = self._managed(who, name, session)
        if revision is not None and row["revision"] != revision:
            raise self._outdated(row, spec)
        self._check_named(who, spec, row["spec"], session)
        beside, written = self.extras.stored(spec, row), self.extras.written(spec)
        self._check_address(who, name, beside, session)
        changes = changed_fields(row, written, beside)
        if not changes:
            if not self.extras.adopts(row):
                return row
            changes = ["updated_by"]
        fields = {
            "spec": written,
            "updated_by": who.name,
            "updated_by_subject": who.subject,
            "revision": row["revision"] + 1,
            "readers": self.kind.readers(spec),
            "managers": self.kind.managers(spec),
            "seen_by": seen_by(self.kind, self.kind.readers(spec), spec),
            **({"spreads": True} if self.kind.tasked and "access" in changes else {}),
            **_set_beside(beside),
        }
        # In a transaction: who was quicker by a moment makes this one run again, and find another revision.
        now = self._entries.find_one_and_update(
            {"_id": name, "revision": row["revision"]},
            [{"$set": {**{k: {"$literal": v} for k, v in fields.items()}, "updated_at": "$$NOW"}}],
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if now is None:
            raise self._outdated(row, spec)
        self.extras.also(now, session)
        self._audit.record(
            who.name, "change", self.kind.name, name, readers=now["readers"], changes=changes, session=session
        )
        return now

    def pause(self, who: Principal, name: str, reason: str) -> Any:
        """Start no task of a queue until it is resumed. Raises NotFound, Forbidden."""
        paused = {"reason": {"$literal": reason}, "by": {"$literal": who.name}, "at": "$$NOW"}
        return self._set(who, name, "pause", [{"$set": {"paused": paused}}])

    def resume(self, who: Principal, name: str) -> Any:
        """Its tasks may start again: the next tick, or a worker with a free slot, starts them. Raises as `pause`."""
        return self._set(who, name, "resume", [{"$unset": "paused"}])

    def _set(self, who: Principal, name: str, action: Action, change: list[Document]) -> Any:
        with translated():
            row = self._managed(who, name)
            now = self._entries.find_one_and_update({"_id": name}, change, return_document=ReturnDocument.AFTER)
            if now is None:
                raise NotFound(message("catalog_gone", kind=kind_word(self.kind.name), name=name))
            self._audit.record(who.name, action, self.kind.name, name, readers=row["readers"])
            return self._view(who, now)

    def delete(self, who: Principal, name: str, revision: int | None, *, force: bool) -> None:
        """The entry is gone.

        Raises:
            NotFound, PreconditionFailed.
            Conflict: other entries name it, or tasks need it and `force` is not set; with their names or count.
        """
        with translated():
            row = self._managed(who, name)
            if revision is not None and row["revision"] != revision:
                raise self._outdated(row, None)
            self._refuse_used(who, name)
            if not force and (count := self._tasks.count_documents(drawing_on(self.kind.name, name), hint="draws_on")):
                raise Conflict(
                    message("catalog_needed", count=count, kind=kind_word(self.kind.name), name=name),
                    reason="InUse",
                )
            # A name and a revision are one entry's for ever: tasks, caches and readers' changes know it by them.
            past = {"$max": {"revision": row["revision"]}}
            self._gone.update_one({"_id": f"{self.kind.name}:{name}"}, past, upsert=True)
            if self._entries.delete_one({"_id": name, "revision": row["revision"]}).deleted_count != 1:
                raise self._outdated(self._row(who, name), None)
            self.extras.deleted(name)
            self._audit.record(who.name, "delete", self.kind.name, name, readers=row["readers"])
        self.settle()

    def settle(self, rows: Iterable[Document] = ()) -> None:
        """Wait until no process remembers the entries as they were before the change."""
        for row in rows:
            if row.get("spreads"):
                self._spreading.spread(self.kind.name, row["_id"])
        time.sleep(self.kind.settle_seconds)

    def _refuse_used(self, who: Principal, name: str) -> None:
        """Raises Conflict where other entries name it, with the names of those that may be read."""
        if not used_by(self._database, self.kind.name, [name], None)[name]:
            return
        users = used_by(self._database, self.kind.name, [name], who.readers)[name]
        said = ", ".join(users[:10]) or "entries that you may not read"
        raise Conflict(
            message("catalog_in_use", kind=kind_word(self.kind.name), name=name, users=said), reason="InUse",
            faults=[fault(user, message("catalog_uses", name=name)) for user in users[:50]],
        )  # fmt: skip

    def _check_address(self, who: Principal, name: str, beside: Document, session: ClientSession) -> None:
        """Raises Conflict where another entry has the address; it is named to those who may read it."""
        if "address" not in beside:
            return
        other = self._entries.find_one(
            {"address": beside["address"], "_id": {"$ne": name}}, ["readers"], session=session
        )
        if other is not None:
            shown = other["_id"] if permissions.may_read(who, other["readers"]) else None
            said = message("repository_address_of", name=shown) if shown else message("repository_address_taken")
            raise Conflict(said, reason="AddressTaken", faults=[fault("/url", said)])

    def _check_named(self, who: Principal, spec: Any, before: Document | None, session: ClientSession) -> None:
        """Check that the entries which an entry names exist and may be named by this person.

        Raises:
            InvalidRequest: it is not there for them, or a credential may not be used for the address.
            Forbidden: they may not use a credential that they name, or whose entry's address they change.
        """
        wanted: dict[str, set[str]] = {}
        for _, kind, name in self.kind.references(spec):
            wanted.setdefault(kind, set()).add(name)
        there = {kind: named(self._database, kind, sorted(names), session) for kind, names in wanted.items()}
        # What an entry has named already need not be visible to who changes the rest of it.
        kept = set(self.kind.references(structs.from_plain(before, self.kind.spec))) if before is not None else set()
        faults = [
            fault(at, message("catalog_missing", kind=kind_word(kind), name=name))
            for at, kind, name in self.kind.references(spec)
            if (row := there[kind].get(name)) is None
            or ((at, kind, name) not in kept and not permissions.may_read(who, row["readers"]))
        ]
        if faults:
            raise InvalidRequest.of(faults)
        credentials = {name: row["spec"] for name, row in there.get("credential", {}).items()}
        written = self.extras.written(spec)
        if refusal := permissions.naming_refusal(who, self.kind.name, before, written, credentials):
            raise Forbidden(refusal, reason="GrantMissing")
        if wrong := permissions.address_faults(self.kind.name, before, written, credentials):
            raise InvalidRequest.of(wrong)
        accounts = {name: row["spec"] for name, row in there.get("service_account", {}).items()}
        if refusal := permissions.account_refusal(who, self.kind.name, before, written, accounts):
            raise Forbidden(refusal, reason="GrantMissing")
        if self.kind.name == "repository" and (
            refusal := permissions.moving_refusal(who, before, written, self._forges_for(spec.name, session))
        ):
            raise Forbidden(refusal, reason="GrantMissing")
        if self.kind.name == "trigger":
            named_here = {kind: {name: row["spec"] for name, row in rows.items()} for kind, rows in there.items()}
            if one := permissions.forge_refusal(who, before, written, named_here):
                raise InvalidRequest.of([one])

    def _forges_for(self, repository: str, session: ClientSession) -> list[Document]:
        """Return the forges that triggers of a repository name."""
        match = {"spec.repository": repository, "spec.forge": {"$type": "string"}}
        names = self._database["triggers"].distinct("spec.forge", match, session=session)
        return [row["spec"] for row in named(self._database, "forge", sorted(names), session).values()]

    def _outdated(self, row: Document, spec: Any) -> PreconditionFailed:
        """Names the differences between what was sent and what is there now."""
        faults = []
        if spec is not None:
            mine = self.extras.written(spec)
            for name in changed_fields(row, mine, {}):
                said = message("catalog_differs", yours=_short(mine.get(name)), current=_short(row["spec"].get(name)))
                faults.append(fault(f"/{name}", said))
        return PreconditionFailed(
            message("catalog_changed_meanwhile", who=row["updated_by"], revision=row["revision"]),
            faults=faults,
            etag=f'"{row["revision"]}"',
        )

    def _changed(self, who: Principal, write: Callable[[ClientSession], Document]) -> Any:
        """Makes a change in a transaction of its own, and the view of what came of it."""
        with translated():
            try:
                with self._database.client.start_session() as session:
                    row = session.with_transaction(write)
            except DuplicateKeyError as error:
                raise Conflict(
                    message("catalog_exists_such", kind=kind_word(self.kind.name)), reason="NameTaken"
                ) from error
            self.settle([row])
            return self._view(who, row)


def drawing_on(kind: str, name: str) -> Document:
    """Return the filter of open tasks that need an entry."""
    return {"draws_on": f"{kind}:{name}"}


def _set_beside(beside: Document) -> Document:
    """Return the stored fields of a kind's extras, without `changed`, which only describes a person's change."""
    return {name: value for name, value in beside.items() if name != "changed"}


def changed_fields(row: Document, written: Document, extra: Document) -> list[str]:
    """The fields that are other than in an entry; of what lies beside the spec, those of a person's own doing."""
    before = row["spec"]
    names = [name for name in written if written[name] != before.get(name)]
    names += [name for name in before if name not in written]
    return names + [name for name in extra.get("changed", ()) if name not in names]


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"
