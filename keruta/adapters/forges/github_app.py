"""Signing in at GitHub as an App's installation: a token for each repository, for an hour.

Source: https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keruta.adapters.forges.github import GitHub, GitHubApp
from keruta.adapters.forges.rest import text_of
from keruta.adapters.github import NotMintedError, proof_of
from keruta.domain.forge_answers import ForgeError


def app(api: str, spec: Mapping[str, Any], private_key: str) -> GitHubApp:
    """Return an installation's API. Its tokens have the installation's permissions, each for one repository."""
    as_app = GitHub(api, lambda _: _proof(spec["app_id"], private_key))
    made: dict[str | None, str] = {}

    def token(repository: str | None) -> str:
        if repository not in made:
            path = f"/app/installations/{spec['installation_id']}/access_tokens"
            wanted = {"repositories": [repository.rpartition("/")[2]]} if repository is not None else {}
            made[repository] = text_of(as_app.ask("POST", path, wanted), "token")
        return made[repository]

    return GitHubApp(api, token, lambda: f"{text_of(as_app.ask('GET', '/app'), 'slug')}[bot]")


def _proof(app_id: str, private_key: str) -> str:
    try:
        return proof_of(app_id, private_key)
    except NotMintedError as error:
        raise ForgeError(error.message, "unauthorized") from error
