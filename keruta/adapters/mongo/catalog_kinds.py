"""Extras of the catalog's kinds: versions and search, encrypted values, pauses, circuits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from pymongo.client_session import ClientSession

from keruta import structs
from keruta.adapters.encryption import Sealer
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.catalog import Extras, MongoCatalog, kept
from keruta.adapters.mongo.catalog_references import used_by
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.schedules import Triggers
from keruta.adapters.mongo.spending import MongoSpending
from keruta.domain import words
from keruta.domain.address import same_address
from keruta.domain.catalog.coding_agents import image_of
from keruta.domain.catalog.common import Page
from keruta.domain.catalog.credentials import (
    ALL_SECRETS,
    SEALED_EVERYWHERE,
    SECRET_FIELDS,
    CredentialSpec,
    CredentialView,
    fingerprint,
)
from keruta.domain.catalog.documents import DOCUMENTS_OF_A_TASK, DocumentRef, DocumentSpec, DocumentView, VersionSummary
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.errors import InvalidRequest, NotFound, fault
from keruta.ports import Document


class WithCircuit(Extras):
    """Repositories, profiles and queues: shown with their circuit, while there is one."""

    def __init__(self, kind: str, circuits: MongoCircuits) -> None:
        self._kind = kind
        self._circuits = circuits

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        found = self._circuits.seen(who, self._kind, [row["_id"] for row in rows])
        shown = super().views(rows, kind, who)
        return [msgspec.structs.replace(view, circuit=found.get(view.name)) if found else view for view in shown]

    def shown(self, row: Document) -> Document:
        return {"paused": row["paused"]} if row.get("paused") else {}


class Queues(WithCircuit):
    """Queues: with what they have spent of their budgets today."""

    def __init__(self, database: Database, circuits: MongoCircuits) -> None:
        super().__init__("queue", circuits)
        self._spending = MongoSpending(database)

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        spent = self._spending.today(rows)
        shown = super().views(rows, kind, who)
        return [
            msgspec.structs.replace(one, spent_today=spent[one.name]) if one.name in spent else one for one in shown
        ]


class Profiles(WithCircuit):
    """Profiles: with the image that their scripts run in.

    Args:
        images: those with a coding agent in them, by the coding agents' names.
    """

    def __init__(self, circuits: MongoCircuits, images: Mapping[str, str]) -> None:
        super().__init__("profile", circuits)
        self._images = images

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        shown = super().views(rows, kind, who)
        return [
            msgspec.structs.replace(one, runs_in=one.image or image_of(one.coding_agent, self._images)) for one in shown
        ]


class Repositories(WithCircuit):
    """Repositories: found by their address, however it is written."""

    def stored(self, spec: RepositorySpec, before: Document | None) -> Document:
        return {"address": same_address(spec.url)}


class Credentials(Extras):
    """Credentials: values are sealed before they are stored, and never shown.

    Args:
        keeps_values: whether long-lived values may be stored; in a cluster they are Kubernetes Secrets.
    """

    def __init__(self, database: Database, sealer: Sealer, circuits: MongoCircuits, *, keeps_values: bool) -> None:
        self._sealer = sealer
        self._circuits = circuits
        self._keeps_values = keeps_values
        self._credentials = database["credentials"]
        self._database = database

    def written(self, spec: CredentialSpec) -> Document:
        plain: Document = msgspec.to_builtins(spec)
        return {name: value for name, value in plain.items() if name not in ALL_SECRETS}

    def stored(self, spec: CredentialSpec, before: Document | None) -> Document:
        values = spec.values
        if spec.kubernetes_secret is not None:
            return {"sealed": None, "fingerprint": None}
        same_type = before is not None and before["spec"]["type"] == spec.type and before.get("sealed")
        if not values and same_type:
            return {}
        field = SECRET_FIELDS[spec.type][0]
        if not values:
            self._refuse(f"/{field}", message("credential_part_needed", type=spec.type))
        if not self._keeps_values and spec.type not in SEALED_EVERYWHERE:
            self._refuse(
                "/kubernetes_secret",
                message("credential_secrets_only"),
            )
        return {
            "sealed": self._sealer.seal(spec.name, values),
            "fingerprint": fingerprint(values, self._sealer.salt()),
            "changed": [field],
        }

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        users = used_by(self._database, "credential", [row["_id"] for row in rows], who.readers)
        circuits = self._circuits.seen(who, "credential", [row["_id"] for row in rows])
        return [
            structs.from_plain(
                {
                    **row["spec"],
                    "meta": kept(row),
                    "fingerprint": row.get("fingerprint"),
                    "used_by": users[row["_id"]],
                    "circuit": msgspec.to_builtins(circuits.get(row["_id"]), builtin_types=(datetime,)),
                },
                CredentialView,
            )
            for row in rows
        ]

    def also(self, entry: Document, session: ClientSession) -> None:
        """Close the circuit of a changed entry: what was refused may be taken now."""
        self._circuits.mended("credential", entry["_id"], session)

    def hidden(self) -> Document:
        return {"sealed": 0}

    def seal_again(self) -> int:
        """Every value is sealed by the first key; returns how many there are. Safe beside everything else."""
        count = 0
        with translated():
            for row in self._credentials.find({"sealed": {"$ne": None}}, ["sealed"]):
                again = self._sealer.again(row["sealed"])
                self._credentials.update_one({"_id": row["_id"], "sealed": row["sealed"]}, {"$set": {"sealed": again}})
                count += 1
        return count

    @staticmethod
    def _refuse(at: str, said: Message) -> None:
        raise InvalidRequest.of([fault(at, said)])


class ServiceAccounts(Extras):
    """Service accounts: shown with what runs as them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        users = used_by(self._database, "service_account", [row["_id"] for row in rows], who.readers)
        shown = super().views(rows, kind, who)
        return [msgspec.structs.replace(view, used_by=users[view.name]) for view in shown]


class Documents(Extras):
    """Documents: each version kept, and what the text index takes."""

    def __init__(self, database: Database) -> None:
        self._documents = database["documents"]
        self._versions = database["document_versions"]

    def stored(self, spec: DocumentSpec, before: Document | None) -> Document:
        whole = f"{spec.title}\n{' '.join(spec.tags)}\n{spec.text}"
        return {
            "size_bytes": len(spec.text.encode()),
            "grams": words.grams(whole),
            "letters": words.letters(whole),
        }

    def also(self, entry: Document, session: ClientSession) -> None:
        """Each version is there before the entry says that it is."""
        version = {
            "document": entry["_id"],
            "version": entry["revision"],
            "spec": entry["spec"],
            "size_bytes": entry["size_bytes"],
            "at": entry["updated_at"],
            "by": entry["updated_by"],
            "readers": entry["readers"],
            "of": entry["created_at"],
        }
        own = {"_id": version_id(entry["_id"], entry["revision"])}
        self._versions.replace_one(own, version, upsert=True, session=session)
        # Earlier versions are visible to those who may see the entry now; a deleted namesake's stay as they were.
        self._versions.update_many(
            {"document": entry["_id"], "of": entry["created_at"]},
            {"$set": {"readers": entry["readers"]}},
            session=session,
        )

    def search(self, text: str) -> Document:
        terms = words.query(text)
        if not terms:
            raise InvalidRequest(message("http_say_word"), faults=[fault("?q", message("http_no_word"))])
        # が is not か with a mark to be ignored.
        return {"$text": {"$search": terms, "$language": "none", "$diacriticSensitive": True}}

    def views(self, rows: Sequence[Document], kind: type[Any], who: Principal) -> list[Any]:
        shown = [{**row["spec"], "size_bytes": row["size_bytes"], "meta": kept(row)} for row in rows]
        if kind is not DocumentView:
            shown = [{name: value for name, value in one.items() if name != "text"} for one in shown]
        return [structs.from_plain(one, kind) for one in shown]

    def hidden(self) -> Document:
        return {"spec.text": 0, "grams": 0, "letters": 0}

    # ------------------------------------------------------------ versions

    def versions(self, who: Principal, name: str, *, limit: int, cursor: str | None) -> Page[VersionSummary]:
        """A document's versions, newest first. Raises NotFound, InvalidRequest."""
        match: Document = {"document": name, "readers": {"$in": who.readers}}
        if cursor is not None:
            if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
                raise InvalidRequest.cursor()
            match["version"] = {"$lt": int(cursor)}
        with translated():
            rows = list(
                self._versions.find(match, {"spec.text": 0}).sort("version", -1).hint("versions").limit(limit + 1)
            )
        if not rows and cursor is None:
            raise NotFound(message("catalog_no_document", name=name[:80]), reason="DocumentNotFound")
        items = [
            VersionSummary(
                version=row["version"],
                title=row["spec"]["title"],
                size_bytes=row["size_bytes"],
                at=row["at"],
                by=row["by"],
            )
            for row in rows[:limit]
        ]
        return Page(items=items, next=str(items[-1].version) if len(rows) > limit else None)

    def version(self, who: Principal, name: str, number: int) -> DocumentView:
        """A document as it was. Raises NotFound."""
        with translated():
            row = self._versions.find_one({"_id": version_id(name, number), "readers": {"$in": who.readers}})
        if row is None:
            raise NotFound(message("catalog_no_version"), reason="VersionNotFound")
        meta = {"revision": number, "created_at": row["of"], "updated_at": row["at"], "updated_by": row["by"]}
        return structs.from_plain({**row["spec"], "size_bytes": row["size_bytes"], "meta": meta}, DocumentView)

    def text(self, name: str, number: int) -> str | None:
        """A version's text, for an attempt that has it; None where it is gone."""
        with translated():
            row = self._versions.find_one({"_id": version_id(name, number)}, ["spec.text"])
        return None if row is None else str(row["spec"]["text"])

    def wanted(self, readers: Sequence[str], asked: Iterable[str]) -> list[DocumentRef]:
        """The documents that a task asks for, by name or by tag, at their latest version, by name."""
        names = [one for one in asked if not one.startswith("tag:")]
        tags = [one.removeprefix("tag:") for one in asked if one.startswith("tag:")]
        match: Document = {
            "readers": {"$in": list(readers)},
            "$or": [{"_id": {"$in": names}}, {"spec.tags": {"$in": tags}}],
        }
        fields = ["revision", "spec.title", "spec.media_type"]
        rows = self._documents.find(match, fields).sort("_id", 1).limit(DOCUMENTS_OF_A_TASK + 1)
        return [
            DocumentRef(
                name=r["_id"], version=r["revision"], title=r["spec"]["title"], media_type=r["spec"]["media_type"]
            )
            for r in rows
        ]


def version_id(name: str, number: int) -> str:
    return f"{name}/{number}"


class Catalogs:
    """The catalogs of all kinds, on one database.

    Args:
        editors: finds a person by their subject, as they were last seen; None for one who is shut out.
        coding_agent_images: images with a coding agent in them, by the coding agents' names.
    """

    def __init__(
        self, database: Database, sealer: Sealer, *, keeps_values: bool, editors: Callable[[str], Principal | None],
        coding_agent_images: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.audit = MongoAudit(database)
        self.circuits = MongoCircuits(database)
        self.credentials = Credentials(database, sealer, self.circuits, keeps_values=keeps_values)
        self.documents = Documents(database)
        extras: dict[str, Extras] = {"credential": self.credentials, "document": self.documents}
        extras["trigger"] = Triggers(database, editors)
        extras["service_account"] = ServiceAccounts(database)
        extras["queue"] = Queues(database, self.circuits)
        extras["profile"] = Profiles(self.circuits, coding_agent_images or {})
        extras["repository"] = Repositories("repository", self.circuits)
        self._by_kind = {
            name: MongoCatalog(database, kind, extras.get(name) or WithCircuit(name, self.circuits), self.audit)
            for name, kind in KINDS.items()
        }

    def __getitem__(self, kind: str) -> MongoCatalog:
        return self._by_kind[kind]
