"""Opens credentials: sealed ones with this machine's key, mounted ones from their files, minted ones as they came."""

from __future__ import annotations

from pathlib import Path

from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.git.credentials import Credential
from keruta.domain.messages import message
from keruta.domain.specification import Access
from keruta.errors import PhaseError, SettingsError


class Opener:
    """Opens what a specification names.

    Args:
        key: this machine's key file.
        mounted: the directory under which Kubernetes Secrets are mounted, each by its name.
    """

    def __init__(self, key: Path, mounted: Path) -> None:
        self._sealer = Sealer(key)
        self._mounted = mounted

    def credential(self, access: Access) -> Credential:
        """Return the credential for a Git server. Raises PhaseError: CredentialMissing."""
        values = self._values(access)
        return Credential(
            name=f"{access.name}@{access.revision}",
            username=values.get("username", access.username),
            token=values.get("token", ""),
            ssh_key=values.get("private_key", ""),
            known_hosts=values.get("known_hosts", access.known_hosts),
        )

    def value(self, access: Access) -> str:
        """Return the secret that a script asked for by name. Raises PhaseError: CredentialMissing."""
        values = self._values(access)
        for name in ("value", "token", "private_key"):
            if name in values:
                return values[name]
        raise PhaseError("CredentialMissing", message("credential_has_no_value", name=access.name))

    def _values(self, access: Access) -> dict[str, str]:
        try:
            if access.sealed is not None:
                return self._sealer.open(access.name, access.sealed)
            if access.secret is not None:
                return self._read(access.secret)
        except (CannotOpenError, SettingsError) as error:
            raise PhaseError("CredentialMissing", error.message) from error
        except OSError as error:
            said = message("credential_not_mounted", secret=access.secret or "", name=access.name)
            raise PhaseError("CredentialMissing", said) from error
        if access.token is not None:
            return {"token": access.token}
        raise PhaseError("CredentialMissing", message("credential_no_token", name=access.name))

    def _read(self, secret: str) -> dict[str, str]:
        return {file.name: file.read_text() for file in (self._mounted / secret).iterdir() if file.is_file()}
