"""Mints a GitHub App's tokens: for one repository, for one hour, for no more than is needed.

Source: https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

import re
import time

import jwt
import msgspec

from keruta import structs
from keruta.adapters.http_client import Http, NoAnswerError
from keruta.domain.address import parse_address
from keruta.domain.messages import message
from keruta.errors import KerutaError

DEFAULT_API = "https://api.github.com"
_OWNER_AND_NAME = re.compile(r"/([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+)")
_http = Http(10, connect_seconds=3, connections=2)


class NotMintedError(KerutaError):
    """GitHub gave no token; the message says why, and holds no secret."""


class _Repository(msgspec.Struct):
    full_name: str


class _Minted(msgspec.Struct):
    token: str
    repositories: list[_Repository]


def proof_of(app_id: str, private_key: str) -> str:
    """Return what an App signs in with as itself, for nine minutes. Raises NotMintedError."""
    now = int(time.time())
    try:
        # A minute back: GitHub refuses a clock that is ahead of its own.
        claims = {"iat": now - 60, "exp": now + 540, "iss": app_id}
        return jwt.encode(claims, private_key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise NotMintedError(message("git_app_key")) from error


def mint(*, app_id: str, installation_id: str, private_key: str, api_url: str | None, url: str, write: bool) -> str:
    """Returns a token for the repository at `url` alone, to read its contents or to write them.

    Raises:
        NotMintedError: the key is none, GitHub refused, or did not answer within 10 s.
    """
    try:
        match = _OWNER_AND_NAME.fullmatch(parse_address(url).path)
    except ValueError:
        match = None
    if match is None:
        raise NotMintedError(message("git_app_address"))
    proof = proof_of(app_id, private_key)
    wanted = {"repositories": [match[2]], "permissions": {"contents": "write" if write else "read"}}
    headers = {"Authorization": f"Bearer {proof}", "Accept": "application/vnd.github+json"}
    address = f"{(api_url or DEFAULT_API).rstrip('/')}/app/installations/{installation_id}/access_tokens"
    try:
        answer = _http.ask("POST", address, body=msgspec.json.encode(wanted), headers=headers)
        if answer.status == 201:
            made = structs.from_json(answer.body, type=_Minted)
            wanted_name = f"{match[1]}/{match[2]}".lower()
            if [one.full_name.lower() for one in made.repositories] != [wanted_name]:
                raise NotMintedError(message("github_token_too_wide", repository=f"{match[1]}/{match[2]}"))
            return made.token
    except NoAnswerError as error:
        raise NotMintedError(message("git_app_away", error=str(error))) from error
    except msgspec.DecodeError as error:
        raise NotMintedError(message("git_app_no_token")) from error
    raise NotMintedError(message("git_app_refused", owner=match[1], repository=match[2], status=answer.status))
