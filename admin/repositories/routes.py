"""Looks at a repository's real server, with its credential, and says what is there."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.adapters.encryption import CannotOpenError
from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import environment
from keruta.adapters.git.remote import look
from keruta.domain.catalog.repositories import RepositoryView, Validation
from keruta.domain.messages import Message, as_message, fields_of
from keruta.errors import PhaseError, SettingsError
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("repositories", __name__)

LOOK_SECONDS = 9.0  # of the 10 s that an answer may take


@serves(blueprint, "validate_repository")
def validate_repository(name: str) -> flask.Response:
    return json_answer(look_at(name))


def look_at(name: str) -> Validation:
    """What is found. Where it works, the repository's circuit is closed: its tasks run again. Raises NotFound."""
    view = ports().catalogs["repository"].show(principal().readers, name)
    found = _look(view)
    if found.reason is None:
        ports().catalogs.circuits.close_of("repository", name)
    return found


def _look(view: RepositoryView) -> Validation:
    settings = ports().settings
    deadline = time.monotonic() + LOOK_SECONDS
    try:
        credential = ports().opening.of(view.read_credential, view.url) if view.read_credential else None
        with tempfile.TemporaryDirectory(prefix="keruta-look-") as place:
            private = Path(place) / "private"
            with environment(
                credential, private, url=view.url, transports=settings.transports, own=settings.own_git
            ) as env:
                return look(view.url, view.default_ref, Git(Path(place), env, threading.Event(), deadline))
    except PhaseError as error:
        return _not_looked(error.reason, error.message)
    except (CannotOpenError, SettingsError) as error:
        return _not_looked("CredentialMissing", str(error))


def _not_looked(reason: str, said: Message | str) -> Validation:
    return Validation(reachable=False, authenticated=False, reason=reason, **fields_of(as_message(said)))
