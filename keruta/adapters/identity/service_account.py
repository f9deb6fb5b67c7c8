"""A program's own token: from a file, or by client credentials from the issuer, made new before it runs out.

Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from keruta.adapters.http_client import Http

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
AGAIN_SECONDS = 5.0  # an issuer that is away is asked so often, and no more, by each program
USED_FOR = 0.7  # of its life; then another is fetched


class ServiceAccount(Protocol):
    def token(self) -> str:
        """A token that is good now. Raises NoTokenError."""
        ...


class NoTokenError(OSError):
    """No token could be obtained; the message has the cause and no secret."""


class TokenFile:
    """A token that someone else puts into a file, and may replace at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        try:
            return self._path.read_text().strip()
        except OSError as error:
            raise NoTokenError(f"the token can't be read: {error.strerror}: {self._path}") from error


class ClientCredentials:
    """Tokens for a client of the issuer's.

    Args:
        url: where the issuer is reached.
        client: the client's id.
        secret_file: holds its secret; read each time.
        clock: seconds that only go forward.
    """

    def __init__(self, url: str, client: str, secret_file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url.rstrip("/")
        self._client = client
        self._secret_file = secret_file
        self._clock = clock
        self._http = Http(REQUEST_SECONDS)
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._not_before = 0.0
        self._problem = ""

    def token(self) -> str:
        now = self._clock()
        if now < self._renew_at:
            return self._token
        with self._lock:
            now = self._clock()
            if now >= self._renew_at and now >= self._not_before:
                self._fetch(now)
        if self._clock() < self._ends_at:
            return self._token
        raise NoTokenError(self._problem)

    def _fetch(self, now: float) -> None:
        """Another token is here, or it is known why not."""
        try:
            endpoint = str(self._ask("GET", f"{self._url}/.well-known/openid-configuration")["token_endpoint"])
            own = "/".join(self._url.split("/")[:3])
            reached = own + "/" + "/".join(endpoint.split("/")[3:])  # by the address that keruta has for it
            secret = self._secret_file.read_text().strip()
            form = {"grant_type": "client_credentials", "client_id": self._client, "client_secret": secret}
            answer = self._ask("POST", reached, form)
            self._token = str(answer["access_token"])
            lives = float(answer.get("expires_in", 60))
            self._renew_at, self._ends_at = now + lives * USED_FOR, now + lives
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._problem = f"no token for {self._client}: {type(error).__name__}: {str(error)[:200]}"
            self._not_before = now + AGAIN_SECONDS
            log.warning("%s", self._problem, extra={"action": "token_not_fetched"})

    def _ask(self, method: str, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self._http.ask(method, url, form=form)
        if answer.status != 200:
            try:
                said = str(answer.document().get("error", ""))[:100]
            except ValueError:
                said = ""
            raise ValueError(f"the issuer answered {answer.status} {said}".strip())
        return answer.document()


def service_account(url: str, client: str, secret_file: Path | None, token_file: Path) -> ServiceAccount:
    """Authenticate by client credentials where a secret is given, else by a file with a token."""
    return ClientCredentials(url, client, secret_file) if secret_file is not None else TokenFile(token_file)
