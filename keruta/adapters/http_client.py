"""Questions to other servers by HTTP: no redirect is followed, and no answer read beyond a limit.

urllib3 is loaded when something is first asked, which is after a function that starts from zero has given its first
answer: it would take that one a twentieth longer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from keruta.network import Pools

ANSWER_LIMIT_BYTES = 1024 * 1024
FORM = "application/x-www-form-urlencoded"


class NoAnswerError(OSError):
    """None came in time, or one that is too long. The message names the fault, and nothing that was sent."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers and body of an HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON object in it. Raises ValueError."""
        found = json.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004  it came from outside: no caller's type is wrong
        return found


class Http:
    """Connections to other servers, kept from one question to the next.

    Args:
        seconds: how long one may take in all, from the connection to the answer's last byte.
        connect_seconds: how much of that may go by before it is connected; not given: all of it.
        connections: how many are kept to each server.
        limit_bytes: how long an answer may be.
        ca_certs: a file with the authorities that certificates must come from; not given: the machine's own.
    """

    def __init__(
        self, seconds: float, *, connect_seconds: float | None = None, connections: int = 1,
        limit_bytes: int = ANSWER_LIMIT_BYTES, ca_certs: str | None = None,
    ) -> None:  # fmt: skip
        self._seconds = seconds
        self._connect_seconds = connect_seconds or seconds
        self._connections = connections
        self._limit_bytes = limit_bytes
        self._ca_certs = ca_certs

    @functools.cached_property
    def _pool(self) -> Pools:
        import urllib3

        from keruta.adapters.deadlines import POOLS

        timeout = urllib3.Timeout(connect=self._connect_seconds, total=self._seconds)
        return Pools(maxsize=self._connections, retries=False, timeout=timeout, ca_certs=self._ca_certs, kinds=POOLS)

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None, form: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Sends `body`, or the fields of `form`, once. Raises NoAnswerError."""
        from urllib3.exceptions import HTTPError

        from keruta.adapters.deadlines import deadline

        sent = dict(headers or {})
        if form is not None:
            sent["Content-Type"], body = FORM, urlencode(form)
        with deadline(self._seconds) as end:
            try:
                found = self._pool.request(method, url, body=body, headers=sent, redirect=False, preload_content=False)
                text = found.read(self._limit_bytes + 1)
            except (HTTPError, OSError) as error:
                raise NoAnswerError("ReadTimeoutError" if end.passed else type(error).__name__) from error
        if end.passed:
            found.close()
            raise NoAnswerError("ReadTimeoutError")
        if len(text) > self._limit_bytes:
            found.close()  # the rest of it is on its way: this connection can't be asked again
            raise NoAnswerError(f"its answer has more than {self._limit_bytes} bytes")
        found.release_conn()
        return Answer(status=found.status, headers=found.headers, body=text)


_http = Http(3, connect_seconds=1, connections=2)


def answers(url: str) -> bool:
    """Says whether a GET of an address succeeds within 3 s."""
    if not url.startswith(("http://", "https://")):
        return False
    try:
        return _http.ask("GET", url).status == 200
    except NoAnswerError:
        return False
