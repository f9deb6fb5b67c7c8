"""Requests to keruta's API, and every way in which an answer can fail as an error with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import urllib3

from keruta import structs
from keruta.errors import KerutaError
from keruta.network import Pools

NO_CONTENT = 204

T = TypeVar("T")


class ApiError(KerutaError):
    """keruta answered that something is wrong, or did not answer.

    Args:
        status: the HTTP status; 0 when there was no answer.
        faults: where in what was sent, and what.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", faults: list[dict[str, Any]] | None = None):
        super().__init__(message)
        self.status, self.reason = status, reason
        self.faults = faults or []


class Transport:
    """Sends requests with a token. No redirect is followed: the token is for one address.

    Args:
        token: None for what anybody may ask.
        host: the name that a gateway routes by, where it is reached by another address.
    """

    def __init__(self, url: str, token: str | Callable[[], str] | None, *, host: str | None = None) -> None:
        self.url = _checked_address(url)
        self._token = _checked_token(token) if isinstance(token, str) else token
        self._host = {"Host": host} if host else {}
        self._pool = Pools(retries=False, timeout=urllib3.Timeout(connect=5, read=60))

    def json(
        self, method: str, path: str, cls: type[T], *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> T:
        answer = self.request(method, path, body=body, headers=headers)
        return self.decoded(answer, cls)

    def decoded(self, answer: urllib3.BaseHTTPResponse, cls: type[T]) -> T:
        try:
            return structs.from_json(answer.data, type=cls)
        except msgspec.MsgspecError as error:
            raise self.unexpected(answer) from error

    def unexpected(self, answer: urllib3.BaseHTTPResponse) -> ApiError:
        """Return the error for an answer that is none of keruta's."""
        return ApiError(
            f"{self.url} did not answer as keruta does (status {answer.status}, {_kind(answer) or 'no content type'}); "
            "check the address, and any proxy in between.",
            status=answer.status,
            reason="UnexpectedAnswer",
        )

    def blocks(self, answer: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
        try:
            yield from answer.stream(size)
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"The answer of {self.url} was cut short; ask again.", reason="AnswerCutShort") from error

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        kind: str | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer, whose status is no error.

        Args:
            kind: the media type that keruta answers with, "" for no content; None where `decoded` will look into it.
                Anything else, such as a portal's page, is no answer of keruta's.

        Raises:
            ApiError
        """
        sent = {**self._authorization(), **self._host, **(headers or {})}
        content = None
        if body is not None:
            content = _encoded(body)
            sent["Content-Type"] = "application/json"
        elif text is not None:
            content = text.encode()
            sent["Content-Type"] = "application/yaml"
        try:
            answer = self._pool.request(
                method, self.url + path, body=content, headers=sent, preload_content=not stream, redirect=False
            )
        except (
            urllib3.exceptions.IncompleteRead,
            urllib3.exceptions.ProtocolError,
            urllib3.exceptions.DecodeError,
        ) as error:
            raise ApiError(f"The answer of {self.url} was cut short; ask again.", reason="AnswerCutShort") from error
        except urllib3.exceptions.SSLError as error:
            raise self._tls_fault(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(
                f"No answer from {self.url}. Is keruta running there, and is the address right?", reason="NoAnswer"
            ) from error
        if 300 <= answer.status < 400:
            to = answer.headers.get("Location", "another address")
            raise ApiError(
                f"{self.url} redirects to {to}; use the address of keruta itself: a token is not sent elsewhere.",
                status=answer.status,
                reason="Redirected",
            )
        if answer.status >= 400:
            raise self._problem(answer)
        if kind is not None and not (_kind(answer) == kind or (kind == "" and answer.status == NO_CONTENT)):
            answer.close()
            raise self.unexpected(answer)
        return answer

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        token = self._token if isinstance(self._token, str) else _checked_token(self._token())
        return {"Authorization": f"Bearer {token}"}

    def _tls_fault(self, error: urllib3.exceptions.SSLError) -> ApiError:
        """Return what is wrong with a certificate, or with TLS as such: nobody can mend that by trusting more."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or "doesn't match" in str(error):
            said = f"The certificate of {self.url} is not trusted: {error}"
            return ApiError(said, reason="UntrustedCertificate")
        if "WRONG_VERSION_NUMBER" in str(error) or "HTTP_REQUEST" in str(error):
            return ApiError(f"{self.url} does not speak https; is it http there?", reason="NoTls")
        return ApiError(f"No secure connection to {self.url}: {error}", reason="NoTls")

    def _problem(self, answer: urllib3.BaseHTTPResponse) -> ApiError:
        try:
            said = structs.from_json(answer.data, type=_Problem)
            return ApiError(said.detail, status=answer.status, reason=said.reason, faults=said.faults)
        except (msgspec.MsgspecError, urllib3.exceptions.HTTPError):
            kind = _kind(answer) or "no content type"
            return ApiError(
                f"{self.url} answered with status {answer.status} ({kind}), which is not an answer of keruta's; "
                "check the address, and any proxy in between.",
                status=answer.status,
                reason="UnexpectedAnswer",
            )


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    detail: str
    reason: str
    faults: list[dict[str, Any]] = []


def _kind(answer: urllib3.BaseHTTPResponse) -> str:
    """Return an answer's media type, "" where it names none."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _checked_address(url: str) -> str:
    """Return an address without a slash at its end. Raises ApiError for what is none."""
    try:
        parts = urllib3.util.parse_url(url.strip())
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.auth or parts.query or parts.fragment:
        raise ApiError(
            "The address of keruta has no user name, password, ? or #; write it as https://keruta.example.com",
            reason="InvalidAddress",
        )
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ApiError(f"{url!r} is not an address such as https://keruta.example.com", reason="InvalidAddress")
    return url.strip().rstrip("/")


def _checked_token(token: str) -> str:
    """Return a token without white space around it. Raises ApiError, which does not repeat it, for what is none."""
    token = token.strip()
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise ApiError(
            "The token has characters that no token has (a line break, a space or a letter beyond ASCII), or is empty; "
            "copy it again.",
            reason="InvalidToken",
        )
    return token


def _encoded(body: Any) -> bytes:
    """Return a body as JSON. Raises ApiError for text that was not UTF-8."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        shown = error.object[:60].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise ApiError(f"This is not UTF-8 text: {shown}", reason="NotUtf8") from error


def server_sent_events(answer: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield server-sent events as (name, id, data), and comments as events without a name."""
    name, identity, data = "", "", b""
    rest = b""
    # read1 gives what has come; stream() would wait for a whole block
    while block := answer.read1(65536):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"event: "):
                name = line[7:].decode("utf-8", "replace")
            elif line.startswith(b"id: "):
                identity = line[4:].decode("utf-8", "replace")
            elif line.startswith(b"data: "):
                data = line[6:]
            elif line.startswith(b":"):
                yield "", "", {}
            elif not line and data:
                yield name, identity, structs.from_json(data, type=dict[str, Any])
                name, identity, data = "", "", b""
