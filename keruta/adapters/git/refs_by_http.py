"""Which objects refs name now, asked of a server over HTTP by this process: one request, and no process of Git's.

It is the question that `git ls-remote` asks, by version 2 of Git's protocol, with the same credential. Only a good
answer counts. Whatever else comes (another status, a redirect, an older protocol, a slow answer) says nothing: Git asks
then, and its words become the reason of a failure.

Source: gitprotocol-http(5)
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping, Sequence

from keruta.adapters.git import ls_refs
from keruta.adapters.http_client import Answer, Http, NoAnswerError

SECONDS = 3.0  # a server that takes longer is asked by Git, which waits longer
QUICK_SECONDS = 0.5  # a kept connection that was closed meanwhile fails at once, and the question is repeated
UNSUITED_SECONDS = 600.0
KNOWN_MOST = 4096
# Addresses that every program reads alike: no user, no escapes, no segments of dots.
_PLAIN = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~+-]+)+/?")
_OTHER_SCHEMES = re.compile(r"\b(?:digest|ntlm|negotiate|bearer)\b", re.IGNORECASE)


class Refs:
    """Questions to servers; connections are kept from one to the next. For any number of threads."""

    def __init__(self, http: Http | None = None) -> None:
        self._http = http or Http(SECONDS, connections=4)
        self._lock = threading.Lock()
        self._unsuited: dict[str, float] = {}  # by address, until when
        self._wants_login: dict[str, None] = {}

    def ask(self, url: str, names: Sequence[str], login: tuple[str, str] | None) -> str | None:
        """Return what the server has of these refs, as `git ls-remote --symref` prints it; None where Git must ask.

        Args:
            names: full names, or HEAD.
            login: user name and token; sent to a server only when it has asked for them.
        """
        if not _PLAIN.fullmatch(url) or time.monotonic() < self._unsuited.get(url, 0.0):
            return None
        began = time.monotonic()
        try:
            answer = self._answer(url, names, login)
        except NoAnswerError:
            if time.monotonic() - began > QUICK_SECONDS:
                self._note_unsuited(url)
            return None
        found = _read(answer, names)
        if found is None and answer.status < 500:
            self._note_unsuited(url)
        return found

    def _answer(self, url: str, names: Sequence[str], login: tuple[str, str] | None) -> Answer:
        knows = login is not None and url in self._wants_login
        answer = self._post(url, names, login if knows else None)
        if answer.status == 401 and login is not None and not knows and _wants_basic(answer):
            answer = self._post(url, names, login)
            if answer.status == 200:
                with self._lock:
                    _bound(self._wants_login)
                    self._wants_login[url] = None
        return answer

    def _post(self, url: str, names: Sequence[str], login: tuple[str, str] | None) -> Answer:
        headers = {
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": "application/x-git-upload-pack-result",
            "Git-Protocol": "version=2",
            "User-Agent": "git/keruta",
        }
        if login is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
        asked = ls_refs.question(names)
        address, began = f"{url.rstrip('/')}/git-upload-pack", time.monotonic()
        try:
            return self._http.ask("POST", address, headers=headers, body=asked)
        except NoAnswerError:
            if time.monotonic() - began > QUICK_SECONDS:
                raise
            return self._http.ask("POST", address, headers=headers, body=asked)

    def _note_unsuited(self, url: str) -> None:
        with self._lock:
            _bound(self._unsuited)
            self._unsuited[url] = time.monotonic() + UNSUITED_SECONDS


def _bound(known: dict[str, float] | dict[str, None]) -> None:
    if len(known) >= KNOWN_MOST:
        known.clear()


def _wants_basic(answer: Answer) -> bool:
    """Return whether a server asks for user and password, and for nothing that Git would choose instead."""
    said = _header(answer.headers, "WWW-Authenticate")
    return "basic" in said.lower() and not _OTHER_SCHEMES.search(said)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def _read(answer: Answer, names: Sequence[str]) -> str | None:
    """Return a good answer's refs as lines; None where it is none, or names nothing that was asked for."""
    kind = _header(answer.headers, "Content-Type").partition(";")[0].strip().lower()
    if answer.status != 200 or kind != "application/x-git-upload-pack-result":
        return None
    return ls_refs.lines(answer.body, names)
