"""Requests of an agent beside its reports: specifications with their short-lived tokens, and documents."""

from __future__ import annotations

from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from agent.reporter import HttpTransport
from keruta import structs
from keruta.domain.messages import Message, message
from keruta.domain.specification import Specification
from keruta.errors import PhaseError


class _UnwellError(Exception):
    """keruta answered that it can't answer now."""


# Five times, a second apart: four seconds in all, and what the answers take.
_AGAIN = Retrying(
    retry=retry_if_exception_type((OSError, _UnwellError)),
    wait=wait_fixed(1.0),
    stop=stop_after_attempt(5),
    reraise=True,
)


class HttpAsking:
    """`agent.attempt.context.Asking` by HTTP, with the token that the reports are sent with."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    def specification(self, task: str, attempt: int) -> Specification:
        body = self._get(
            f"/agent/v1/tasks/{task}/attempts/{attempt}", "CredentialMissing", message("attempt_its_credentials")
        )
        return structs.from_json(body, type=Specification)

    def for_job(self, task: str, attempt: int) -> Specification:
        """The specification with the attempt's own token, for the agent beside its script, and no other token."""
        path = f"/agent/v1/tasks/{task}/attempts/{attempt}?minted=false"
        return structs.from_json(
            self._get(path, "InternalError", message("attempt_its_specification")), type=Specification
        )

    def document(self, task: str, attempt: int, name: str) -> bytes:
        return self._get(
            f"/agent/v1/tasks/{task}/attempts/{attempt}/documents/{name}",
            "DocumentMissing",
            message("attempt_its_document", name=name),
        )

    def store_snapshot(self, task: str, attempt: int, sealed: Path) -> None:
        """Store an attempt's sealed session. Raises PhaseError."""
        path, size = f"/agent/v1/tasks/{task}/attempts/{attempt}/snapshot", sealed.stat().st_size

        def once() -> int:
            with sealed.open("rb") as file:
                status = self._transport.request("PUT", path, file, length=size).status
            if status >= 500:
                raise _UnwellError
            return status

        try:
            status = _AGAIN(once)
        except (OSError, _UnwellError) as error:
            raise PhaseError("InternalError", message("session_not_stored")) from error
        if status != 204:
            raise PhaseError("InternalError", message("session_not_stored"))

    def snapshot(self, task: str, attempt: int) -> bytes:
        """Return the sealed session that an attempt resumes. Raises PhaseError."""
        path = f"/agent/v1/tasks/{task}/attempts/{attempt}/snapshot"
        return self._get(path, "SessionMissing", message("attempt_its_session"))

    def _get(self, path: str, reason: str, what: Message) -> bytes:
        """Return what is there. Without an answer it is keruta that is away, and another attempt may help."""
        try:
            return _AGAIN(self._get_once, path, reason, what)
        except (OSError, _UnwellError) as error:
            raise PhaseError("InternalError", message("attempt_fetch_away", what=what)) from error

    def _get_once(self, path: str, reason: str, what: Message) -> bytes:
        response = self._transport.request("GET", path, None)
        if response.status >= 500:
            raise _UnwellError
        if response.status != 200:
            raise PhaseError(reason, message("attempt_fetch_failed", what=what, status=response.status))
        return response.data
