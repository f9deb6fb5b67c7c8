"""What is on record of a change: who, what, of what, when, from which request."""

from __future__ import annotations

from datetime import datetime

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. `changes` names the fields that are other than before; never their values."""

    id: str
    who: str
    action: str
    kind: str
    of: str
    at: datetime
    changes: list[str] = []
    request: str | None = None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the audit record, newest first."""

    items: list[AuditEntry]
    next: str | None = None
