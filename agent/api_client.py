"""What an agent asks of keruta beside its reports: specifications with their short-lived tokens, and documents."""

from __future__ import annotations

import time

from agent.reporter import HttpTransport
from keruta import structs
from keruta.domain.messages import Message, message
from keruta.domain.specification import Specification
from keruta.errors import PhaseError

TRIES = 5
AGAIN_SECONDS = 1.0


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

    def _get(self, path: str, reason: str, what: Message) -> bytes:
        """Asked five times within some seconds; then it is keruta that is away, and another attempt may help."""
        for left in reversed(range(TRIES)):
            try:
                response = self._transport.request("GET", path, None)
            except OSError:
                pass
            else:
                if response.status == 200:
                    return response.data
                if response.status < 500:
                    raise PhaseError(reason, message("attempt_fetch_failed", what=what, status=response.status))
            if left:
                time.sleep(AGAIN_SECONDS)
        raise PhaseError("InternalError", message("attempt_fetch_away", what=what))
