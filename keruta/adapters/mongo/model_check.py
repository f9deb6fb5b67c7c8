"""Asks a model's server for its list of models, with a stored key, which goes to the hosts of its credential alone."""

from __future__ import annotations

from keruta import structs
from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.http_client import Http, NoAnswerError
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.messages import message
from keruta.domain.model_keys import KeyCheck, ModelServer, checked, not_checked, server_of
from keruta.domain.permissions import sending_refusal
from keruta.errors import SettingsError
from keruta.ports import Document

SECONDS = 10


class MongoModelCheck:
    """`keruta.ports.catalog.ModelCheck` for the keys that profiles name."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._credentials = database["credentials"]
        self._profiles = database["profiles"]
        self._sealer = sealer
        self._http = Http(SECONDS)

    def __call__(self, name: str) -> KeyCheck:
        with translated():
            row = self._credentials.find_one({"_id": name}) or {"spec": {"type": ""}}
            rows = list(self._profiles.find({"spec.model_credential": name}, ["spec"]).sort("_id", 1))
        profiles = [structs.from_plain(one["spec"], ProfileSpec) for one in rows]
        servers = list(dict.fromkeys(server_of(one.options) for one in profiles if one.options is not None))
        if row["spec"]["type"] != "secret" or not servers:
            return not_checked("NotAModelsKey", message("model_key_unused", name=name))
        found = [self._asked(name, row, server) for server in servers]
        return next((one for one in found if not one.accepted), found[0])

    def _asked(self, name: str, row: Document, server: ModelServer) -> KeyCheck:
        at = server.models_address
        if refusal := sending_refusal(row["spec"], server.address):
            return not_checked("CredentialMissing", refusal, at)
        if row["spec"].get("kubernetes_secret"):
            return not_checked("NotChecked", message("credential_jobs_only", name=name), at)
        try:
            key = self._sealer.open(name, row.get("sealed") or b"")["value"].strip()
            answer = self._http.ask("GET", at, headers=server.headers(key))
        except (CannotOpenError, SettingsError, KeyError, UnicodeError) as error:
            said = message("credential_unusable", name=name, error=str(error))
            return not_checked("CredentialMissing", said, at)
        except NoAnswerError as error:
            return not_checked("ModelNotReached", message("model_away", error=str(error)), at)
        try:
            document = answer.document() if answer.status == 200 else {}
        except ValueError:
            return not_checked("ModelNotReached", message("model_key_unreadable", server=at), at)
        return checked(server, answer.status, document)
