"""Opens a stored credential for a look at its server."""

from __future__ import annotations

from typing import Any

from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.git.credentials import Credential
from keruta.adapters.github import NotMintedError, mint
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.specifications import app_token
from keruta.domain.messages import message
from keruta.domain.permissions import sending_refusal


class MongoOpening:
    """Credential lookup for clusters: long-lived values are Kubernetes Secrets, which no function holds; only Apps'
    keys can be decrypted.
    """

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._credentials = database["credentials"]
        self._sealer = sealer

    def of(self, name: str, url: str) -> Credential:
        """Return the credential for reading the repository at `url`.

        Raises CannotOpenError with a sentence, SettingsError.
        """
        with translated():
            row: dict[str, Any] | None = self._credentials.find_one({"_id": name})
        if row is None:
            raise CannotOpenError(message("credential_gone", name=name))
        spec = row["spec"]
        if refusal := sending_refusal(spec, url):
            raise CannotOpenError(str(refusal))
        if spec.get("kubernetes_secret"):
            raise CannotOpenError(message("credential_jobs_only", name=name))
        values = self._sealer.open(name, row.get("sealed") or b"")
        if spec["type"] == "github_app":
            try:
                token = app_token(mint, spec, values, url=url, write=False)
            except NotMintedError as error:
                raise CannotOpenError(error.message) from error
            return Credential(name=name, username="x-access-token", token=token)
        return Credential(
            name=name,
            username=spec.get("username") or "",
            token=values.get("token", ""),
            ssh_key=values.get("private_key", ""),
            known_hosts=spec.get("known_hosts") or "",
        )
