"""The circuit breaker's rules: what fails for reasons that are not the script's is held, not failed again and again.

A circuit belongs to a repository, a profile, a credential or a queue. It counts failures in a row; it opens at the
limit; then the tasks that draw on it wait, and one is let through after a while to try (`probe_at`). A success, or a
person, closes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

OPEN_AFTER = 3
PROBE_FIRST_SECONDS = 60
PROBE_MOST_SECONDS = 1800

CircuitKind = Literal["repository", "profile", "credential", "queue"]

# Whose fault a reason is; the queue counts all of them.
BLAMED: dict[str, CircuitKind] = {
    "CloneAuthFailed": "repository",
    "RepositoryNotFound": "repository",
    "HostKeyUnknown": "repository",
    "CertificateRefused": "repository",
    "CloneFailed": "repository",
    "PushRefused": "repository",
    "CredentialMissing": "repository",
    "ImagePullFailed": "profile",
    "ImageNotRunnable": "profile",
    "ProfileMissing": "profile",
    "ModelUnauthorized": "credential",
}
# A queue mixes repositories: it takes more of them to say that something common to all is wrong.
QUEUE_OPENS_AFTER = 10


class CircuitView(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit that counts failures or is open."""

    id: str
    kind: CircuitKind
    name: str
    open: bool
    failures: Annotated[int, Meta(ge=0)]
    reason: str
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    last_task: str
    opened_at: datetime | None = None
    probe_at: datetime | None = None


def opens_after(kind: CircuitKind) -> int:
    """Number of failures in a row that open a circuit of this kind. A key that is refused once is refused again."""
    return {"queue": QUEUE_OPENS_AFTER, "credential": 1}.get(kind, OPEN_AFTER)
