"""Looks at a repository's real server, with its credential."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from keruta.adapters.encryption import CannotOpenError
from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import Credential, environment
from keruta.adapters.git.remote import look
from keruta.domain.catalog.repositories import RepositoryView, Validation
from keruta.domain.messages import Message, as_message, fields_of
from keruta.errors import PhaseError, SettingsError
from keruta.network import network
from keruta.settings import Settings

LOOK_SECONDS = 9.0  # of the 10 s that an answer may take
LOOK_BYTES = 32 << 20  # of what a server says it has: some 500,000 refs


class Opening(Protocol):
    """Opens a stored credential."""

    def of(self, name: str, url: str) -> Credential:
        """Raises CannotOpenError, SettingsError."""
        ...


class GitRemoteCheck:
    """`keruta.ports.catalog.RemoteCheck` by `git ls-remote`."""

    def __init__(self, opening: Opening, settings: Settings) -> None:
        self._opening = opening
        self._settings = settings

    def __call__(self, repository: RepositoryView) -> Validation:
        settings, url = self._settings, repository.url
        deadline = time.monotonic() + LOOK_SECONDS
        try:
            name = repository.read_credential
            credential = self._opening.of(name, url) if name else None
            with tempfile.TemporaryDirectory(prefix="keruta-look-") as place:
                private = Path(place) / "private"
                with environment(
                    credential, private, url=url, transports=settings.transports, own=settings.own_git
                ) as env:
                    git = Git(Path(place), env, threading.Event(), deadline, LOOK_BYTES)
                    found = look(url, repository.default_ref, git)
                    return msgspec.structs.replace(found, **_reach(url))
        except PhaseError as error:
            return _not_looked(error.reason, error.message)
        except (CannotOpenError, SettingsError) as error:
            return _not_looked("CredentialMissing", str(error))


def _reach(url: str) -> dict[str, Any]:
    """Return the network settings that apply to a URL."""
    reach, parts = network(), urlsplit(url)
    if parts.scheme != "https":
        return {}
    proxy = None if reach.direct(parts.hostname or "") else reach.https_proxy
    return {"proxy": proxy, "own_authorities": reach.trusts_more}


def _not_looked(reason: str, said: Message | str) -> Validation:
    return Validation(reachable=False, authenticated=False, reason=reason, **fields_of(as_message(said)))
