"""Common part of the forges' APIs: requests and answers in JSON; an answer that is no success raises `ForgeError`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.domain.forge_answers import ForgeError, error_of, no_answer
from keruta.domain.messages import message

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
REQUEST_SECONDS = 10.0
_http = Http(REQUEST_SECONDS, connect_seconds=3, connections=2, limit_bytes=8 * 1024 * 1024)

# Gives what signs in for a repository, or for no one of them.
Token = Callable[[str | None], str]


class Rest:
    """Requests to one API.

    Args:
        api: its address.
        token: raises ForgeError.
    """

    accept = "application/json"
    scheme = "Bearer"

    def __init__(self, api: str, token: Token) -> None:
        self._api = api
        self._token = token

    def ask(
        self, method: str, path: str, body: Any = None, *, of: str | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:  # fmt: skip
        """Return the JSON of an answer; None where it has none. Raises ForgeError.

        Args:
            of: the repository that the request is about.
        """
        url = f"{self._api}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": self.accept, "User-Agent": "keruta", "Authorization": f"{self.scheme} {self._token(of)}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = msgspec.json.encode(body)
        try:
            answer = _http.ask(method, url, headers=headers, body=data)
        except NoAnswerError as error:
            raise no_answer(str(error)) from error
        if not 200 <= answer.status < 300:
            raise error_of(answer.status, answer.headers, answer.body, datetime.now(UTC))
        try:
            return msgspec.json.decode(answer.body) if answer.body else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error


def unreadable() -> ForgeError:
    """For an answer that is not what the forge's documentation says."""
    return ForgeError(message("forge_unreadable"), "away", uncertain=True)


def segment(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def named(repository: str) -> str:
    """A repository's owner and name as parts of a path."""
    return "/".join(segment(part) for part in repository.split("/"))


def text_of(found: Any, *path: str) -> str:
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def commit_of(found: Any, *path: str) -> str | None:
    text = text_of(found, *path)
    return text if COMMIT.fullmatch(text) else None


def number_of(found: Any, field: str) -> int:
    """Raises ForgeError."""
    value = found.get(field) if isinstance(found, dict) else None
    if not isinstance(value, int):
        raise unreadable()
    return value


def list_of(found: Any) -> list[Any]:
    """Raises ForgeError."""
    if not isinstance(found, list):
        raise unreadable()
    return found
