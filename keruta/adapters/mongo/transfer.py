"""The catalog out as YAML, and in: checked whole, then written in one transaction, or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pymongo.client_session import ClientSession

from keruta.adapters.mongo.catalog import changed_fields
from keruta.adapters.mongo.catalog_kinds import Catalogs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain import permissions
from keruta.domain.catalog.common import ImportResult, Planned
from keruta.domain.catalog.credentials import ALL_SECRETS
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.transfer import FAULTS_MOST, ORDER, Entry, dump, parse
from keruta.domain.messages import Message, kind_word, message
from keruta.domain.principal import Principal
from keruta.errors import Fault, InvalidRequest, fault
from keruta.ports import Document


class MongoTransfer:
    """Import and export of everything in the catalog."""

    def __init__(self, database: Database, catalogs: Catalogs) -> None:
        self._database = database
        self._catalogs = catalogs

    def export(self) -> str:
        """All entries, without any secret; what is at its default is left out."""
        return dump(
            (kind, _without_defaults(kind, row["spec"])) for kind in ORDER for row in self._catalogs[kind].all()
        )

    def bring_in(self, who: Principal, text: str, *, dry_run: bool) -> ImportResult:
        """Entries are as the document says; what it does not name stays. The same document again changes nothing.

        Raises:
            InvalidRequest: with every fault and its line; nothing was changed.
        """
        entries, faults = parse(text)
        entries.sort(key=lambda entry: ORDER.index(entry.kind))
        there = self._there(entries)
        faults = (
            faults or self._missing(entries) or [*_without_value(entries, there), *self._misdirected(entries, there)]
        )
        if faults:
            raise InvalidRequest.of(faults[:FAULTS_MOST])
        plan = [(entry, self._planned(entry, there.get((entry.kind, entry.spec.name)))) for entry in entries]
        if not dry_run:
            with translated(), self._database.client.start_session() as session:
                written = session.with_transaction(lambda session: self._write(who, plan, session))
            for kind, rows in written.items():
                self._catalogs[kind].settle(rows)
        actions = [planned.action for _, planned in plan]
        return ImportResult(
            dry_run=dry_run,
            created=actions.count("create"),
            changed=actions.count("change"),
            unchanged=actions.count("none"),
            entries=[planned for _, planned in plan if planned.action != "none"],
        )

    def _write(
        self, who: Principal, plan: Sequence[tuple[Entry, Planned]], session: ClientSession
    ) -> dict[str, list[Document]]:
        written: dict[str, list[Document]] = defaultdict(list)
        for entry, planned in plan:
            catalog = self._catalogs[entry.kind]
            if planned.action == "create":
                written[entry.kind].append(catalog.create_in(session, who, entry.spec))
            elif planned.action == "change":
                row = catalog.replace_in(session, who, entry.spec.name, entry.spec, None)
                written[entry.kind].append(row)
        return written

    def _there(self, entries: Sequence[Entry]) -> dict[tuple[str, str], Document]:
        found: dict[tuple[str, str], Document] = {}
        with translated():
            for name, kind in KINDS.items():
                wanted = [entry.spec.name for entry in entries if entry.kind == name]
                if wanted:
                    rows = self._database[kind.collection].find({"_id": {"$in": wanted}}, {"grams": 0, "letters": 0})
                    found |= {(name, row["_id"]): row for row in rows}
        return found

    def _planned(self, entry: Entry, row: Document | None) -> Planned:
        if row is None:
            return Planned(kind=entry.kind, name=entry.spec.name, action="create")
        changes = changed_fields(row, self._catalogs[entry.kind].extras.written(entry.spec), {})
        if entry.kind == "credential" and entry.spec.values:
            changes += sorted(entry.spec.values)  # what is stored can't be compared: it is sealed anew
        action = "change" if changes else "none"
        return Planned(kind=entry.kind, name=entry.spec.name, action=action, changes=changes)  # type: ignore[arg-type]

    def _missing(self, entries: Sequence[Entry]) -> list[Fault]:
        """Return a fault for each named entry that neither exists nor comes with the import."""
        there = {(entry.kind, entry.spec.name) for entry in entries}
        named = [(entry, *one) for entry in entries for one in KINDS[entry.kind].references(entry.spec)]
        with translated():
            for of in {kind for _, _, kind, _ in named}:
                names = sorted({name for _, _, kind, name in named if kind == of and (of, name) not in there})
                found = self._database[KINDS[of].collection].find({"_id": {"$in": names}}, ["_id"])
                there |= {(of, row["_id"]) for row in found}
        return [
            _fault(entry, at, message("catalog_missing_in_document", kind=kind_word(kind), name=name))
            for entry, at, kind, name in named
            if (kind, name) not in there
        ]

    def _misdirected(self, entries: Sequence[Entry], there: Mapping[tuple[str, str], Document]) -> list[Fault]:
        """Return a fault for each entry that would send a credential to an address outside its hosts."""
        coming = {entry.spec.name: msgspec.to_builtins(entry.spec) for entry in entries if entry.kind == "credential"}
        names = {name for entry in entries for _, kind, name in KINDS[entry.kind].references(entry.spec)
                 if kind == "credential"}  # fmt: skip
        with translated():
            found = self._database["credentials"].find({"_id": {"$in": sorted(names - set(coming))}}, ["spec"])
            credentials = {**{row["_id"]: row["spec"] for row in found}, **coming}
        faults = []
        for entry in entries:
            row = there.get((entry.kind, entry.spec.name))
            after = self._catalogs[entry.kind].extras.written(entry.spec)
            wrong = permissions.address_faults(entry.kind, row["spec"] if row else None, after, credentials)
            faults += [{**one, "at": f"line {entry.line(one['at'])}: {one['at']}"} for one in wrong]
        return faults


def _without_value(entries: Sequence[Entry], there: Mapping[tuple[str, str], Document]) -> list[Fault]:
    """Credentials whose value is neither in the document nor here already."""
    return [
        _fault(entry, "", message("credential_value_first", name=entry.spec.name))
        for entry in entries
        if entry.kind == "credential"
        and not entry.spec.values
        and entry.spec.kubernetes_secret is None
        and not (there.get((entry.kind, entry.spec.name)) or {}).get("sealed")
    ]


def _fault(entry: Entry, at: str, said: Message) -> Fault:
    return fault(f"line {entry.line(at)}: {at}".rstrip(": "), said)


def _without_defaults(kind: str, spec: Document) -> dict[str, Any]:
    defaults = {
        field.encode_name: msgspec.to_builtins(_default(field)) for field in msgspec.structs.fields(KINDS[kind].spec)
    }
    return {
        name: value
        for name, value in spec.items()
        if name not in ALL_SECRETS and (name in ("name", "type") or value != defaults.get(name))
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None
