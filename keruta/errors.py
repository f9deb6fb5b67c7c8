"""Every exception that keruta raises on purpose.

KerutaError
├── Problem                 an answer to a client: has a status, a reason and a sentence
│   ├── InvalidRequest      422  the body, a parameter or a header is wrong; `faults` says where
│   ├── TooLarge            413
│   ├── Unauthenticated     401
│   ├── Forbidden           403
│   ├── NotFound            404
│   ├── MethodNotAllowed    405
│   ├── Conflict            409  true of the request, not of the state that the thing is in
│   ├── PreconditionFailed  412  it was changed meanwhile; `etag` is what it is now
│   ├── PreconditionRequired 428 a change must say from which version it was made
│   ├── UnsupportedMedia    415
│   ├── RangeNotSatisfiable 416
│   ├── TooManyRequests     429  ask again after `retry_after_seconds`
│   └── Unavailable         503  ours, for now: try again
├── PhaseError              keruta could not do its part of a job (clone, push, …); not the script's fault
├── ProviderAwayError       the identity provider does not answer
├── ProviderRefusedError    the identity provider said no
├── PoolError               the pool of workers could not be sized: who was asked would not, or did not answer
└── SettingsError           the environment is wrong; every fault at once
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from keruta.domain.messages import Argument, Message, as_message, fields_of, message, read_message

Fault = dict[str, Any]

FAULTS_MOST = 50  # in one answer: more than anybody mends at a time
AT_LETTERS = 300


def fault(at: str, said: Message | str) -> Fault:
    """Make one fault of a document.

    Args:
        at: where: a JSON pointer, "" for the whole document.
        said: what is wrong, as a sentence.
    """
    fields = fields_of(as_message(said))
    at = at if len(at) <= AT_LETTERS else f"{at[:AT_LETTERS]}…"
    return {"at": at, **(fields if fields["message_code"] else {"message": fields["message"]})}


def _bounded(faults: Sequence[Fault]) -> list[Fault]:
    """The first of them, and how many more there are."""
    left_out = len(faults) - FAULTS_MOST
    more = [fault("", message("http_faults_more", count=left_out))] if left_out > 0 else []
    return [*faults[:FAULTS_MOST], *more]


class KerutaError(Exception):
    """Root of all that keruta raises on purpose.

    Args:
        message: one sentence: what was wrong, and what to do. Never holds a secret.
    """

    def __init__(self, message: Message | str = "") -> None:
        super().__init__(str(message))
        self.message = as_message(message)


class Problem(KerutaError):  # noqa: N818  RFC 9457's word
    """An answer that is not a success, in the terms of RFC 9457.

    Args:
        message: one sentence: what was wrong, and what to do.
        reason: a stable CamelCase word; by default the class's own.
        faults: for a document with several things wrong, each as `fault` makes it. After the first 50, how many more.
    """

    status = 500
    default_reason = "InternalError"

    def __init__(self, message: Message | str, *, reason: str | None = None, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason
        self.faults = _bounded(faults)


class InvalidRequest(Problem):
    status, default_reason = 422, "InvalidRequest"

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Self:
        """Make an error of these faults, the first of them as its sentence."""
        first = read_message(faults[0]["message"], faults[0].get("message_code"), faults[0].get("message_arguments"))
        at: Argument = faults[0]["at"] or message("http_the_body")
        more = len(faults) - 1
        if more:
            return cls(message("http_faults_at", at=at, fault=first, count=more), faults=faults)
        return cls(message("http_fault_at", at=at, fault=first), faults=faults)

    @classmethod
    def cursor(cls) -> Self:
        """Make the error for a cursor that no list gave out."""
        return cls(message("http_cursor"), faults=[fault("?cursor", message("http_cursor_next"))])


class TooLarge(Problem):
    status, default_reason = 413, "TooLarge"


class Unauthenticated(Problem):
    status, default_reason = 401, "Unauthenticated"


class Forbidden(Problem):
    status, default_reason = 403, "Forbidden"


class NotFound(Problem):
    status, default_reason = 404, "NotFound"


class MethodNotAllowed(Problem):
    status, default_reason = 405, "MethodNotAllowed"


class Conflict(Problem):
    status, default_reason = 409, "Conflict"


class PreconditionFailed(Problem):
    status, default_reason = 412, "PreconditionFailed"

    def __init__(self, message: Message | str, *, faults: Sequence[Fault] = (), etag: str = "") -> None:
        super().__init__(message, faults=faults)
        self.etag = etag


class PreconditionRequired(Problem):
    status, default_reason = 428, "PreconditionRequired"


class UnsupportedMedia(Problem):
    status, default_reason = 415, "UnsupportedMediaType"


class RangeNotSatisfiable(Problem):
    status, default_reason = 416, "RangeNotSatisfiable"


class TooManyRequests(Problem):
    status, default_reason = 429, "TooManyRequests"

    def __init__(self, message: Message | str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Problem):
    status, default_reason = 503, "Unavailable"


class StorageFull(Problem):
    status, default_reason = 507, "StorageFull"


class PhaseError(KerutaError):
    """Our part of a job failed.

    Args:
        reason: a key of `keruta.domain.retry.REASONS`.
        message: one sentence: what happened and what to do. Never holds a secret.
    """

    def __init__(self, reason: str, message: Message | str) -> None:
        super().__init__(message)
        self.reason = reason


class PoolError(KerutaError):
    """Workers could not be started or ended. The message says who refused, and why."""


class ProviderAwayError(KerutaError):
    """The identity provider does not answer, or not as one."""


class ProviderRefusedError(KerutaError):
    """The identity provider answered, and said no."""


class SettingsError(KerutaError):
    """The environment is wrong. The message lists every fault."""
