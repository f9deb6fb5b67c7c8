"""Forges of the catalog, with their credentials opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keruta import structs
from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.forges.gitea import Gitea
from keruta.adapters.forges.github import GitHub
from keruta.adapters.forges.github_app import app
from keruta.adapters.forges.gitlab import GitLab
from keruta.adapters.forges.rest import Rest
from keruta.adapters.mongo.client import Database, translated
from keruta.domain import permissions
from keruta.domain.address import same_address
from keruta.domain.catalog import access
from keruta.domain.catalog.forges import ForgeSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.messages import kind_word, message
from keruta.domain.naming import NAME
from keruta.domain.permissions import sending_refusal
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, NotFound, SettingsError
from keruta.ports import Document
from keruta.ports.forges import QUESTION_SECONDS, ConnectedTrigger, ForgeApi

APIS: dict[str, Callable[[str, Callable[[str | None], str]], Any]] = {
    "github": GitHub, "gitlab": GitLab, "gitea": Gitea, "forgejo": Gitea,
}  # fmt: skip


class MongoForges:
    """`keruta.ports.forges.Forges` on MongoDB."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def manageable(self, who: Principal, name: str) -> ForgeSpec:
        spec = structs.from_plain(self._seen(who, "forges", "forge", name)["spec"], ForgeSpec)
        if not access.may_run(spec.access, who.names):
            said = message("submission_not_permitted", kind=kind_word("forge"), name=name)
            raise Forbidden(said, reason="GrantMissing")
        return spec

    def open(self, name: str, seconds: float = QUESTION_SECONDS) -> ForgeApi:
        with translated():
            row = self._database["forges"].find_one({"_id": name}, ["spec"])
        if row is None:
            raise NotFound(message("catalog_missing", kind=kind_word("forge"), name=name[:80]), reason="ForgeNotFound")
        spec = structs.from_plain(row["spec"], ForgeSpec)
        if spec.credential is None:
            raise Conflict(message("forge_no_credential", name=name), reason="CredentialMissing")
        with translated():
            held = self._database["credentials"].find_one({"_id": spec.credential})
        if held is None or not held.get("sealed"):
            raise Conflict(message("credential_gone", name=spec.credential), reason="CredentialMissing")
        if refusal := sending_refusal(held["spec"], spec.address):
            raise Conflict(refusal, reason="CredentialMissing")
        values = self._opened(spec.credential, held)
        if held["spec"]["type"] == "github_app":
            return app(spec.api, held["spec"], values["private_key"]).within(seconds)
        token = values["token"].strip()
        made: Rest = APIS[spec.type](spec.api, lambda _: token)
        return made.within(seconds)  # type: ignore[return-value]

    def names_of(self, who: Principal, urls: list[str]) -> dict[str, str]:
        by_address = {same_address(url): url for url in urls}
        wanted = {"address": {"$in": list(by_address)}, "readers": {"$in": who.readers}}
        with translated():
            rows = list(self._database["repositories"].find(wanted, ["address"]))
        return {by_address[row["address"]]: row["_id"] for row in rows}

    def trigger(self, who: Principal, name: str, forge: str) -> ConnectedTrigger:
        row = self._seen(who, "triggers", "trigger", name)
        if refusal := permissions.change_refusal(who, "trigger", name, row["managers"]):
            raise Forbidden(refusal, reason="GrantMissing")
        spec = structs.from_plain(row["spec"], TriggerSpec)
        if spec.forge != forge:
            raise Conflict(message("forge_not_named", trigger=name, forge=forge), reason="OtherForge")
        with translated():
            found = self._database["forges"].find_one({"_id": forge}, ["spec.webhook_secret"])
            secret = spec.webhook_secret or (found or {}).get("spec", {}).get("webhook_secret")
            held = self._database["credentials"].find_one({"_id": secret}) if secret else None
        if secret is None or held is None or not held.get("sealed"):
            raise Conflict(message("forge_no_secret"), reason="CredentialMissing")
        lines = [line.strip() for line in self._opened(secret, held)["value"].splitlines() if line.strip()]
        if not lines:
            raise Conflict(message("forge_no_secret"), reason="CredentialMissing")
        return ConnectedTrigger(spec=spec, secret=lines[0])  # while it is changed, the new one comes first

    def repository_url(self, name: str) -> str:
        with translated():
            row = self._database["repositories"].find_one({"_id": name}, ["spec.url"])
        return str(row["spec"]["url"]) if row is not None else ""

    def _opened(self, name: str, held: Document) -> dict[str, str]:
        try:
            return self._sealer.open(name, held["sealed"])
        except (CannotOpenError, SettingsError) as error:
            raise Conflict(message("forge_no_key", name=name), reason="CredentialMissing") from error

    def _seen(self, who: Principal, collection: str, kind: str, name: str) -> Document:
        row = None
        if NAME.fullmatch(name):
            with translated():
                row = self._database[collection].find_one({"_id": name, "readers": {"$in": who.readers}})
        if row is None:
            said = message("catalog_missing", kind=kind_word(kind), name=name[:80])
            raise NotFound(said, reason=f"{kind.capitalize()}NotFound")
        return row
