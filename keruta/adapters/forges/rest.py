"""Common part of the forges' APIs: requests and answers in JSON; an answer that is no success raises `ForgeError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import quote, urlencode

import msgspec

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.domain.forge_answers import ForgeError, error_of, no_answer
from keruta.domain.messages import message
from keruta.domain.naming import COMMIT
from keruta.domain.payload_parts import moment_of

PAGE = 100
LIST_PAGES = 20
LIST_BYTES = 32 * 1024 * 1024  # of a list's answers
AT_ONCE = timedelta(seconds=2)  # an issue that is opened with labels has them so soon
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
        self._ends_at: float | None = None
        self._read_bytes = 0
        self._in_all: int | None = None

    def within(self, seconds: float) -> Self:
        """Return the same, whose requests fail when these seconds are over: lists have many pages."""
        self._ends_at = time.monotonic() + seconds
        return self

    def ask(
        self, method: str, path: str, body: Any = None, *, of: str | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:  # fmt: skip
        """Return the JSON of an answer; None where it has none. Raises ForgeError.

        Args:
            of: the repository that the request is about.
        """
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            raise no_answer("TimeoutError")
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
        self._read_bytes += len(answer.body)
        self._in_all = _count_of(answer.headers.get("X-Total-Count"))
        if not 200 <= answer.status < 300:
            raise error_of(answer.status, answer.headers, answer.body, datetime.now(UTC))
        try:
            return msgspec.json.decode(answer.body) if answer.body else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error

    def found(self, path: str, *, of: str | None = None) -> Any:
        """Return what is at a path; None where nothing is. Raises ForgeError."""
        try:
            return self.ask("GET", path, of=of)
        except ForgeError as error:
            if error.kind == "missing":
                return None
            raise

    def pages(self, path: str, query: Mapping[str, str | int], *, of: str | None = None) -> list[Any] | None:
        """Return the whole of a list; None if it has more pages, or is longer, than is read. Raises ForgeError."""
        whole: list[Any] = []
        before: list[Any] = []
        began = self._read_bytes
        for page in range(1, LIST_PAGES + 1):
            # Gitea's timeline has null in place of an empty page.
            found = list_of(self.ask("GET", path, of=of, query={**query, **self.page(page)}) or [])
            if found == before:  # it has no pages
                return whole
            whole += found
            # A server may be set to give less at once than it is asked for. Gitea's timeline counts its page alone.
            more = len(found) >= self.page_size or (self._in_all or 0) > len(whole)
            if not found or not more:
                return whole
            if self._read_bytes - began > LIST_BYTES:
                return None
            before = found
        return None

    def newest(
        self, path: str, query: Mapping[str, str | int], field: str, since: datetime, *, of: str | None = None
    ) -> list[Any]:
        """Return the beginning of a list whose newest come first: those of which a field's time is not before `since`.

        Raises ForgeError.
        """
        whole: list[Any] = []
        began = self._read_bytes
        for page in range(1, LIST_PAGES + 1):
            found = list_of(self.ask("GET", path, of=of, query={**query, **self.page(page)}))
            new = [one for one in found if is_since(one, field, since)]
            whole += new
            if len(found) < self.page_size or not new or self._read_bytes - began > LIST_BYTES:
                break
        return whole

    page_size = PAGE

    def page(self, page: int) -> dict[str, str | int]:
        """Return what a list's query says of the page that is wanted."""
        return {"per_page": PAGE, "page": page}


def _count_of(header: str | None) -> int | None:
    return int(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 10 else None


def unreadable() -> ForgeError:
    """Return the error for an answer that is not what the forge's documentation says."""
    return ForgeError(message("forge_unreadable"), "away", uncertain=True)


def segment(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def named(repository: str) -> str:
    """A repository's owner and name as parts of a path."""
    return "/".join(segment(part) for part in repository.split("/"))


def part_of(found: Any, *path: str) -> Any:
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_of(found: Any, *path: str) -> str:
    text = part_of(found, *path)
    return text if isinstance(text, str) else ""


def is_since(found: Any, field: str, since: datetime) -> bool:
    """Say whether a field of an answer is a time that is not before another one."""
    at = moment_of(text_of(found, field))
    return at is not None and at >= since


def set_later(issue: Any, put: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return which labels were put on an issue after it was opened, each with the last time that it was.

    Args:
        put: each time that a label was put on it, oldest first.
    """
    opened = moment_of(text_of(issue, "created_at"))
    since = opened + AT_ONCE if opened is not None else None
    return {name: one for name, one in put if since is None or is_since(one, "created_at", since)}


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit_of(found: Any, *path: str) -> str | None:
    text = text_of(found, *path)
    return text if COMMIT.fullmatch(text) else None


def commits_by_name(found: Iterable[Any] | None, *path: str) -> dict[str, str] | None:
    """Return the commits of a list's branches or tags, by their names; None where the whole list is not known.

    Args:
        path: to the commit's id in each.
    """
    if found is None:
        return None
    commits = {text_of(one, "name"): commit_of(one, *path) for one in found}
    return {name: commit for name, commit in commits.items() if name and commit is not None}


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
